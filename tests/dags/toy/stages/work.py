"""A stage of the toy wheel: its output is a hash of its inputs. The file `slow` names a stage that takes its time."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import yaml

from thumbwheel.bundle import bundle_hash
from thumbwheel.lake import Pin, write_json, write_pin

FOLDERS = {"fetch": "models/base", "sft": "models/sft", "quantize": "models/served"}
name = sys.argv[1]
deps = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][name]["deps"]
files = [file for dep in deps for file in ([Path(dep)] if Path(dep).is_file() else sorted(Path(dep).rglob("*.json")))]
mark = hashlib.sha256(name.encode() + b"".join(file.read_bytes() for file in files)).hexdigest()
if name == "sft" and "broken" in Path("data/inputs/sources.json").read_text():
    sys.exit("error: the source is broken; mend it.")
if Path("slow").exists() and Path("slow").read_text() == name:
    Path("reached").touch()
    time.sleep(900)
if name in FOLDERS:
    Path(FOLDERS[name]).mkdir(parents=True, exist_ok=True)
    Path(FOLDERS[name], "config.json").write_text(mark)
elif name == "gate":
    outcome = Path("outcome").read_text() if Path("outcome").exists() else "pass"
    write_json(Path("data/reports/gate.json"), {"outcome": outcome, "mark": mark, "criteria": []})
elif name in ("register", "package"):
    bundle = bundle_hash(Path("models/served"))
    gate = json.loads(Path("data/reports/gate.json").read_text())
    facts = {"version": int(bundle[:4], 16), "bundle": bundle, "outcome": gate["outcome"]}
    tracked = {"run_id": "toy", "experiment": "0"}
    bento = {"bento": f"toy:{bundle[:8]}", "bento_model": f"toy:{bundle[:8]}", "path": "models/served"}
    write_pin(Pin(stage=name, facts=facts | (tracked if name == "register" else bento)))
else:
    write_pin(Pin(stage=name, facts={"mark": mark}))
