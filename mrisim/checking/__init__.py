"""What a sequence does, against what its file, its scanner and its patient allow: rules as records."""

from mrisim.checking.coils import Coil as Coil
from mrisim.checking.coils import load_coil as load_coil
from mrisim.checking.limits import check_limits as check_limits
from mrisim.checking.messages import Message as Message
from mrisim.checking.messages import grouped as grouped
from mrisim.checking.rules import check_sequence as check_sequence
from mrisim.checking.rules import measure as measure
