"""A plugin, and the same after its component and its field got other names."""

OLD = '''
from typing import Annotated
from ablate.api import Weighting

class Soft(Weighting):
    """Soft."""
    name = "soft"
    gamma: float = 5.0

    def weight(self, level, sigma_data):
        return level.snr * self.gamma / (level.snr + self.gamma)
'''
NEW = OLD.replace('name = "soft"', 'name = "soft_min"\n    formerly = ("soft",)').replace("gamma: float", "tau: TAU")
NEW = NEW.replace("self.gamma", "self.tau").replace("TAU", 'Annotated[float, Formerly("gamma")]')
NEW = NEW.replace("import Weighting", "import Formerly, Weighting")
