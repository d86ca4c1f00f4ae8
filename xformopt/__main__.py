"""`python -m xformopt`: the tables of transforms and inner optimizers with their settings."""

from xformopt.table import as_text, inner_rows, transform_rows


def main() -> None:
    """Print the tables."""
    header = ("transform", "when", "settings", "laws", "formula", "what", "source")
    print(as_text(header, transform_rows()))
    print("\nEach also takes param_ndim ('inherit': the optimizer's) and when ('pre' or 'post').\n")
    print(as_text(("inner optimizer", "settings"), inner_rows()))


if __name__ == "__main__":
    main()
