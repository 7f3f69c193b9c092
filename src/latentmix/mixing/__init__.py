"""Mixtures of a batch: draws, the mixers that make them, and paths between codes; imports only torch."""

from latentmix.mixing.draws import Bernoulli as Bernoulli
from latentmix.mixing.draws import Mix as Mix
from latentmix.mixing.draws import Mixer as Mixer
from latentmix.mixing.draws import Mixup as Mixup
from latentmix.mixing.draws import dirichlet as dirichlet
from latentmix.mixing.draws import draw_partners as draw_partners
from latentmix.mixing.draws import pair as pair
from latentmix.mixing.paths import crossover as crossover
from latentmix.mixing.paths import lerp as lerp
from latentmix.mixing.paths import simplex_grid as simplex_grid
from latentmix.mixing.paths import slerp as slerp
