"""ablate: which design choice of a diffusion model matters, and what does it cost?"""

__version__ = "0.1.0"
