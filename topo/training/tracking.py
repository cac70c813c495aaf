"""Training runs followed by TensorBoard and MLflow, through callbacks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import InputError, described, warn
from ..registry import Registry
from .callback import Callback, TrainingState

__all__ = ["TRACKERS", "Forgiving", "MLflow", "TensorBoard", "Tracker"]


class Tracker(Callback):
    """A callback that hands the numbers of a run on to a program that shows them.

    After the run, `finish` hands over what is known only then.

    Attributes
    ----------
    package
        What has to be installed.
    """

    package = ""

    def __init__(
        self,
        folder: str | Path,
        name: str = "run",
        settings: Mapping[str, Any] | None = None,
        *,
        experiment: str = "topo",
    ) -> None:
        self.check()

    @classmethod
    def check(cls) -> None:
        """Refuse to start where the package is missing.

        Raises
        ------
        InputError
            With how to install it.
        """
        if cls.package and find_spec(cls.package) is None:
            raise InputError(
                f"tracking needs the package {cls.package}; install it with pip install 'topo-sparse[{cls.package}]'."
            )

    def finish(self, numbers: Mapping[str, Any], status: str = "finished") -> None:
        """Hand over the last numbers of a run, and end it.

        Parameters
        ----------
        numbers
            Name -> value; what is no finite number is left out.
        status
            What became of the run.
        """


TRACKERS: Registry[type[Tracker]] = Registry("tracker")


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Loss, accuracy and learning rate of every epoch as files for TensorBoard.

    Parameters
    ----------
    folder
        Where they are written: ``tensorboard --logdir`` of it, or of a folder above, shows them.
    name
        Of the run.
    settings
        What the run is, kept as text beside its curves.
    experiment
        To which the run belongs.

    Raises
    ------
    InputError
        When tensorboard is not installed.
    """

    package = "tensorboard"

    def __init__(
        self,
        folder: str | Path,
        name: str = "run",
        settings: Mapping[str, Any] | None = None,
        *,
        experiment: str = "topo",
    ) -> None:
        super().__init__(folder, name, settings, experiment=experiment)
        from torch.utils.tensorboard import SummaryWriter

        self._settings = settings or {}
        self._writer = SummaryWriter(str(Path(folder) / _as_folder(experiment) / _as_folder(name)))

    def on_start(self, state: TrainingState) -> None:
        rows = {**self._settings, **_settings_of(state)}
        self._writer.add_text("settings", "\n".join(f"{key}: {value}  " for key, value in rows.items()))

    def on_epoch_end(self, state: TrainingState) -> None:
        for name, value in _numbers(state.history[-1]).items():
            self._writer.add_scalar(name, value, state.epoch)

    def on_end(self, state: TrainingState) -> None:
        self._writer.flush()

    def finish(self, numbers: Mapping[str, Any], status: str = "finished") -> None:
        for name, value in _numbers(numbers).items():
            self._writer.add_scalar(f"result/{name}", value, 0)
        self._writer.add_text("status", status)
        self._writer.close()


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """Settings, curves and results of a run for MLflow, on the server of MLFLOW_TRACKING_URI where that is set.

    Parameters
    ----------
    folder
        Where they are written without a server: in ``mlruns`` in it.
    name
        Of the run.
    settings
        Parameters of the run beside those of its recipe.
    experiment
        To which the run belongs.

    Raises
    ------
    InputError
        When mlflow is not installed, or the server refuses.
    """

    package = "mlflow"

    def __init__(
        self,
        folder: str | Path,
        name: str = "run",
        settings: Mapping[str, Any] | None = None,
        *,
        experiment: str = "topo",
    ) -> None:
        super().__init__(folder, name, settings, experiment=experiment)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        where = os.environ.get("MLFLOW_TRACKING_URI")
        if where is None:
            # MLflow asks for this word before it writes files: databases need more of it than its small package has.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            where = (Path(folder).resolve() / "mlruns").as_uri()
        try:
            self._client = MlflowClient(tracking_uri=where)
            self._run = self._client.create_run(self._experiment(experiment), run_name=name).info.run_id
        except MlflowException as error:
            raise InputError(f"MLflow at {where} takes no run ({str(error).splitlines()[0]}).") from error
        self._settings = settings or {}

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return known.experiment_id
        try:
            return self._client.create_experiment(name)
        except MlflowException:  # another process was faster
            known = self._client.get_experiment_by_name(name)
            if known is None:
                raise
            return known.experiment_id

    def on_start(self, state: TrainingState) -> None:
        for name, value in {**self._settings, **_settings_of(state)}.items():
            self._client.log_param(self._run, name, value)

    def on_epoch_end(self, state: TrainingState) -> None:
        for name, value in _numbers(state.history[-1]).items():
            self._client.log_metric(self._run, name, value, step=state.epoch)

    def finish(self, numbers: Mapping[str, Any], status: str = "finished") -> None:
        for name, value in _numbers(numbers).items():
            self._client.log_metric(self._run, name, value)
        self._client.set_tag(self._run, "status", status)
        self._client.set_terminated(self._run, "FINISHED" if status in ("finished", "collapsed") else "FAILED")


def _settings_of(state: TrainingState) -> dict[str, Any]:
    return {f"recipe.{name}": value for name, value in asdict(state.recipe).items()} | {"seed": state.seed}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among values, under names that trackers take."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _as_folder(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


class Forgiving(Tracker):
    """A tracker whose failures are warnings: a server that is away costs a run its curves, and nothing else.

    Parameters
    ----------
    tracker
        What is told of the run.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker: Tracker | None = tracker

    def _told(self, event: str, *arguments: Any) -> None:
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, event)(*arguments)
        except Exception as error:
            self._tracker = None
            warn(f"the run is not tracked any more: {described(error)}")

    def on_start(self, state: TrainingState) -> None:
        self._told("on_start", state)

    def on_step_end(self, state: TrainingState) -> None:
        self._told("on_step_end", state)

    def on_epoch_end(self, state: TrainingState) -> None:
        self._told("on_epoch_end", state)

    def on_end(self, state: TrainingState) -> None:
        self._told("on_end", state)

    def finish(self, numbers: Mapping[str, Any], status: str = "finished") -> None:
        self._told("finish", numbers, status)
