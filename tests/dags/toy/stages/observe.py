"""Write the file `source` down as an input of the toy wheel."""

from pathlib import Path

from thumbwheel.lake import write_json

text = Path("source").read_text()
path = Path("data/inputs/sources.json")
if not path.exists() or text not in path.read_text():
    write_json(path, {"text": text})
