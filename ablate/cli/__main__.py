"""`python -m ablate.cli`, where the script `ablate` is not on the path."""

from ablate.cli import main

main()
