"""What can be known from the package's source is said without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmlab.config.precheck import precheck

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "experiments" / "digits.yaml")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config", "no.yaml"], "no such file"),
        (["--config", "broken.yaml"], "broken.yaml:3: "),
        (["--config", DIGITS, "--modle.path=VP"], "did you mean model?"),
        (["--config", DIGITS, "--model.network=DiTT"], "did you mean DiT"),
        (["--config", DIGITS, "--model.path=fmlab.paths.VPP"], "did you mean"),
        (["--config", DIGITS, "--model.network.widht=3"], "did you mean width?"),
        (["--config", DIGITS, "--model.lr_scheduler.warmup=3"], "did you mean warmup_steps"),
        (["--config", DIGITS, "--fid.num_sample=3"], "did you mean num_samples"),
        (["--config", DIGITS, "--samples.solver=Hein"], "did you mean Heun"),
        (["--config", DIGITS, "--data=Digit"], "did you mean Digits?"),
        (["--config", DIGITS, "--ema.decay=${trainer.max_step}"], "did you mean trainer.max_steps"),
    ],
)
def test_a_mistake_is_reported_before_torch_is_imported(argv: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: 1\nb: [\n")
    code = (
        "import sys; from fmlab.__main__ import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'lightning', 'numpy', 'wandb'} & set(sys.modules); assert not heavy, heavy; sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "fit", *argv], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 3


def test_what_the_source_cannot_tell_passes() -> None:
    """A class of the user's own, or of torch, is looked at when it is imported."""
    own = {"class_path": "my_net.MyNet", "init_args": {"anything": 1}}
    arguments = {"network": own, "optimizer": {"class_path": "AdamW", "init_args": {"lr": 1}}, "source": "batch"}
    precheck({"model": {"class_path": "FlowMatching", "init_args": arguments}, "data": "my_data.Mine"})
