"""The guide's tables are those of the registry; `python -m tests.test_readme` writes them anew."""

import re
import warnings
from pathlib import Path

import pytest

from tests.test_recipes import LABELS, bounds
from xformopt.table import markdown

GUIDE = Path(__file__).parent.parent / "xformopt/README.md"
BEGIN, END = "<!-- tables: python -m tests.test_readme -->\n", "<!-- end of tables -->"


def generated(guide: str) -> str:
    """Return the guide with its tables made anew."""
    tables = markdown(LABELS, bounds())
    pattern = re.escape(BEGIN) + ".*" + re.escape(END)
    return re.sub(pattern, lambda _: BEGIN + tables + END, guide, flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # rai's, not ours
def test_the_tables_are_fresh():
    guide = GUIDE.read_text()
    assert BEGIN in guide
    assert guide == generated(guide), "run `python -m tests.test_readme`"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    GUIDE.write_text(generated(GUIDE.read_text()))
