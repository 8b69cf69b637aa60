"""Write what is generated from the code: conf/default.yaml, the page of the configuration, and the JSON schemas.

python scripts/reference.py            # write the files
python scripts/reference.py --check    # exit with 1 where a file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(_ROOT / "pipeline"), str(_ROOT / "selectors")]

from feature_audit.config import reference  # noqa: E402
from feature_audit.report.as_json import json_schema  # noqa: E402

_SCHEMAS = "pipeline/feature_audit/schemas"


def main() -> int:
    """Write or compare; the exit code."""
    texts = {
        "conf/default.yaml": reference.as_yaml(),
        "docs/reference/configuration.md": reference.as_markdown(),
        f"{_SCHEMAS}/config.schema.json": reference.as_json_schema(),
        f"{_SCHEMAS}/report.schema.json": json_schema(),
    }
    old = [path for path, text in texts.items() if not _is(_ROOT / path, text)]
    if "--check" in sys.argv[1:]:
        for path in old:
            print(f"{path}: not what the code says; run python scripts/reference.py")
        return 1 if old else 0
    for path in old:
        (_ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (_ROOT / path).write_text(texts[path], encoding="utf-8")
        print(f"{path}: written")
    return 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
