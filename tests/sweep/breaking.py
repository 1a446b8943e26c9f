"""An objective that ends a job as jobs end in the field, for as long as a file called `broken` is there."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gan_cli.objectives import StdGAN
from gan_cli.shapes import Logits, Loss


@dataclass(frozen=True, kw_only=True)
class Breaking(StdGAN):
    """StdGAN that ends its process in the way that is named, or is slow."""

    way: str

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        if Path("broken").exists():
            if self.way == "raises":
                raise RuntimeError("no luck")
            if self.way == "exits":
                sys.exit(3)
            if self.way == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "slow":
                time.sleep(0.2)
        return super().generator_loss(real_logits, fake_logits)
