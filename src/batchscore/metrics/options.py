"""`metrics` and `alerts`: where the numbers go, and the thresholds that the alert rules join."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from batchscore.strict import Section


class MetricsOptions(Section):
    """`metrics`: the Pushgateway that a run tells its numbers to."""

    pushgateway: str | None = None
    """Base address of the Pushgateway, such as `http://pushgateway:9091`; null: nothing is pushed."""
    basic_auth_user: str | None = None
    """User of HTTP basic authentication; needs `basic_auth_password_file`."""
    basic_auth_password_file: str | None = None
    """File that holds the password; read at every push, trailing line ends left out."""
    bearer_token_file: str | None = None
    """File that holds a bearer token; instead of basic authentication."""
    ca_file: str | None = None
    """PEM file with the certificate authorities to trust for https; null: the system's."""
    use_proxy: bool = False
    """Whether HTTP_PROXY, HTTPS_PROXY and NO_PROXY apply; a cluster-wide proxy seldom reaches a Pushgateway."""
    budget_seconds: float = Field(default=10.0, ge=0.1, le=60.0)
    """Wall-clock seconds that all pushes of one run may take together, whatever the server does."""

    @field_validator("pushgateway")
    @classmethod
    def _is_plain_address(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an address such as http://pushgateway:9091")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must hold neither a user, a password nor a query; secrets stand in files")
        return address.rstrip("/")

    @model_validator(mode="after")
    def _authenticates_one_way(self) -> Self:
        if (self.basic_auth_user is None) != (self.basic_auth_password_file is None):
            raise ValueError("basic_auth_user and basic_auth_password_file belong together")
        if self.bearer_token_file is not None and self.basic_auth_user is not None:
            raise ValueError("bearer_token_file and basic_auth_user exclude each other")
        return self


class AlertsOptions(Section):
    """`alerts`: thresholds, pushed as series and joined in the alert rules; null switches an alert off."""

    volume_low_ratio: float | None = Field(default=0.6, gt=0, lt=1)
    """BatchScoreVolumeLow fires below this share of the same weekday's baseline: 0.6 is a drop of 40 %."""
    volume_high_ratio: float | None = Field(default=1.6, gt=1)
    """BatchScoreVolumeHigh fires above this share of the same weekday's baseline."""
    baseline_runs: int = Field(default=4, ge=1, le=8)
    """How many runs a baseline must rest on before volume and speed are judged."""
    rejected_ratio: float | None = Field(default=0.02, ge=0, lt=1)
    """BatchScoreRejectRatioHigh fires above this share of rows set aside."""
    slow_ratio: float | None = Field(default=2.0, gt=1)
    """BatchScoreSlow fires above this multiple of the last fourteen days' median seconds per row."""
    slow_min_seconds: float = Field(default=120.0, ge=0)
    """Runs shorter than this many seconds are never slow."""
    prediction_drift_psi: float | None = Field(default=0.2, gt=0)
    """BatchScorePredictionDrift fires above this population stability index of the scores."""
    feature_drift_psi: float | None = Field(default=0.25, gt=0)
    """BatchScoreFeatureDrift fires above this population stability index of any feature."""
