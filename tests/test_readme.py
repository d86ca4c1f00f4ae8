"""The README's tables are those of the registry; `python -m tests.test_readme` writes them anew."""

import re
import warnings
from pathlib import Path

import pytest

from tests.test_recipes import LABELS, bounds
from xformopt.table import markdown

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- tables: python -m tests.test_readme -->\n", "<!-- end of tables -->"


def generated(readme: str) -> str:
    """Return the README with its tables made anew."""
    tables = markdown(LABELS, bounds())
    pattern = re.escape(BEGIN) + ".*" + re.escape(END)
    return re.sub(pattern, lambda _: BEGIN + tables + END, readme, flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # rai's, not ours
def test_the_tables_are_fresh():
    readme = README.read_text()
    assert BEGIN in readme
    assert readme == generated(readme), "run `python -m tests.test_readme`"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    README.write_text(generated(README.read_text()))
