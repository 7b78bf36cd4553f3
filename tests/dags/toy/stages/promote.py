"""Write the release of the toy wheel."""

import sys

from thumbwheel.lake import read_pin
from thumbwheel.release import Release, write_release

facts = read_pin("package").facts
names = ("version", "bundle", "bento", "bento_model", "path")
write_release(Release(**{name: facts[name] for name in names}, approved_by=sys.argv[2]))
