"""Data sets: complete sets of uint8 images on the device, in fixed splits."""

from latentmix.data.cuts import cut as cut
from latentmix.data.found import Found as Found
from latentmix.data.given import from_arrays as from_arrays
from latentmix.data.given import from_dataset as from_dataset
from latentmix.data.load import from_path as from_path
from latentmix.data.load import load as load
from latentmix.data.names import name_of_path as name_of_path
from latentmix.data.split import SPLITS as SPLITS
from latentmix.data.split import UNLABELLED as UNLABELLED
from latentmix.data.split import Columns as Columns
from latentmix.data.split import Data as Data
from latentmix.data.split import Decoded as Decoded
from latentmix.data.split import Source as Source
from latentmix.data.split import Split as Split

Data.from_arrays = staticmethod(from_arrays)
Data.from_dataset = staticmethod(from_dataset)
