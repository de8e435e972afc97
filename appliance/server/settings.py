"""All settings of a server: one frozen object, filled from flags, variables and an env file, in this order.

Each row of `Settings` gives a setting's name, default and help; flags, variables and their
documentation are made from it (`appliance.server.flags`). The POSIX ``LANG`` is no setting of ours.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from appliance.log import LogFormat
from appliance.server.places import default_state_dir, token_credential
from appliance.speakers.diarizer import Choice
from appliance.speech.audio.formats import RawFormat
from appliance.speech.config import LONGEST_TURN_S
from appliance.speech.hypothesis import Task
from appliance.speech.profile import CommitMode, DecodingPolicy

if TYPE_CHECKING:
    from appliance.speakers.sortformer_config import SortformerConfig

PREFIX = "WLK_"
OLDER_NAMES = {"MODEL": "model", "PORT": "port", "DIAR": "diarization"}
"""Variables that sites already have in their files."""

_OF_THE_SITE = {"WLK_GPUS", "WLK_LISTEN", "WLK_MEMORY", "WLK_SITE_MODELS"}  # in wlk.env, for those who start it
OTHER_NAMES = frozenset({"WLK_ENV_FILE", "WLK_STORE", "WLK_VERSION"} | _OF_THE_SITE)
"""Variables with our prefix that are not settings of the server."""

Names = Annotated[tuple[str, ...], NoDecode]
LogLevel = Literal["debug", "info", "warning", "error"]
ComputeType = Literal["auto", "int8", "int8_float16", "int8_float32", "float16", "bfloat16", "float32"]


class Settings(BaseSettings):
    """Settings of ``wlk-appliance serve``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field("0.0.0.0", description="address to listen on (127.0.0.1: this machine only; ::: IPv6 too)")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one")
    models_dir: Path | None = Field(None, description="folder that holds the models: MODEL/faster-whisper-MODEL, ...")
    model: str = Field("base", min_length=1, description="which model of --models-dir to serve")
    encoder_dir: Path | None = Field(None, description="CTranslate2 folder of the encoder, instead of --models-dir")
    decoder_dir: Path | None = Field(None, description="folder of the PyTorch decoder that fits --encoder-dir")
    vad_file: Path | None = Field(
        None, description="voice activity model (ONNX); default: silero_vad.onnx in --models-dir or beside the encoder"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the models run")
    compute_type: ComputeType = Field(
        "auto", description="the encoder's number format; auto: int8 on cpu, float16 on cuda"
    )
    workers: int = Field(0, ge=0, le=64, description="inference passes at once, for all clients together; 0 chooses")
    step_timeout_s: float = Field(
        30.0,
        ge=1,
        le=LONGEST_TURN_S,
        description="seconds that an inference step may take at least before its process is replaced as one that hangs",
    )
    language: str = Field("auto", min_length=2, description="language of clients that name none; auto detects it")
    languages: Names = Field((), description="languages that auto chooses among, by commas; empty: all of the model's")
    task: Task = Field(
        "transcribe", description="for clients that name none; translate gives English, whatever is spoken"
    )
    translation_dir: Path | None = Field(
        None, description="CTranslate2 folder of a model that translates into clients' languages: NLLB-200 or M2M100"
    )
    target_language: str = Field(
        "", max_length=20, description="language to translate into for clients that name none; empty: no translation"
    )
    initial_prompt: str = Field(
        "", max_length=1000, description="text that stands before every transcript, for names and spelling"
    )
    policy: DecodingPolicy = Field(
        "alignatt", description="how words are found sure: by attention, or by CTranslate2 alone and agreement"
    )
    window: Literal["short", "full"] = Field(
        "short", description="audio of a pass: padded as little as is safe, or always to 30 s (slow; to compare)"
    )
    max_sessions: int = Field(
        0, ge=0, le=1000, description="clients at once, one more is told to come back; 0: as many as measured at start"
    )
    max_sessions_per_client: int = Field(
        0,
        ge=0,
        le=1000,
        description="of these, and of files, for clients with one token, or without tokens of one address; 0: all",
    )
    commit: CommitMode = Field(
        "balanced", description="when words are committed: early (fast), when they are sure, or at a pause (accurate)"
    )
    max_backlog_s: float = Field(
        30.0, ge=1, le=600, description="seconds of audio a client may be ahead before it is read more slowly"
    )
    max_message_bytes: int = Field(
        1024 * 1024, ge=4096, le=64 * 1024 * 1024, description="largest message a client may send"
    )
    idle_timeout_s: float = Field(
        120.0, gt=0, le=86400, description="seconds without a message after which a client's stream is ended"
    )
    client_timeout_s: float = Field(
        20.0, gt=0, le=60, description="seconds in which a client must take what it is sent, and answer a ping"
    )
    resume_window: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="seconds that a stream waits for a client that dropped and may come back; 0: none",
    )
    max_upload_mb: int = Field(
        500, ge=1, le=100_000, description="largest file that may be sent to be transcribed, in MB"
    )
    max_file_minutes: int = Field(240, ge=1, le=10_000, description="longest file that is transcribed, in minutes")
    file_queue: int = Field(
        8, ge=1, le=1000, description="files that may be sent, wait or be worked on; one more is told to come back"
    )
    file_threads: int = Field(
        0, ge=0, le=256, description="CPU threads that work on files, at lowest priority; 0: half of --workers"
    )
    file_idle_s: float = Field(
        300.0, gt=0, le=86400, description="seconds without a file after which the memory for files is given back"
    )
    pcm_format: RawFormat = Field("s16le", description="raw PCM of clients that don't say (16 kHz)")
    pcm_input: bool = Field(False, description="ask clients for raw PCM instead of a container (useAudioWorklet)")
    token: SecretStr | None = Field(None, description="secret that clients must give, as a bearer token")
    token_file: Path | None = Field(
        default_factory=token_credential,
        description="file of more such secrets: lines of NAME: TOKEN; default: systemd's credential wlk-tokens",
    )
    tokens: SecretStr | None = Field(None, description="the same lines themselves, for who can't hand a file in")
    allowed_origins: Names = Field(
        ("*",), description="web origins whose pages may connect, by commas: *, same, or https://name[:port]"
    )
    allow_outgoing: bool = Field(
        False, description="let the server's processes open connections, which only libraries of a GPU may want to"
    )
    tls: bool = Field(True, description="serve https and wss; off only behind a proxy that does")
    tls_cert: Path | None = Field(None, description="own certificate (PEM, with its chain), not one of the local CA")
    tls_key: Path | None = Field(None, description="private key of --tls-cert (PEM)")
    tls_names: Names = Field((), description="more names and addresses for the certificate of the local CA, by commas")
    tls_host_names: Names = Field(
        (), description="those of the machine that this container runs on; run_wlk.sh gives them"
    )
    state_dir: Path = Field(
        default_factory=default_state_dir,
        description="folder for what must outlive the server; default: STATE_DIRECTORY or ~/.local/state/wlk-appliance",
    )
    journal: Path | None = Field(
        None,
        description="folder in which committed text is kept, so that it outlives a power cut; empty: none is kept",
    )
    journal_max_mb: int = Field(
        1000, ge=1, le=1_000_000, description="room for it, in MB; the oldest streams are removed first"
    )
    journal_max_days: int = Field(30, ge=1, le=36500, description="days after which a stream is removed from it")
    log_level: LogLevel = Field("info", description="how much to log on stderr")
    log_format: LogFormat = Field("text", description="lines for people, or one JSON object a line")
    diarization: bool = Field(False, description="tell speakers apart, of clients that don't ask for the contrary")
    diarization_backend: Choice = Field(
        "auto", description="what does so; auto: sortformer on a GPU, where it is installed, else embedding"
    )
    diarization_file: Path | None = Field(
        None, description="its weights (.pt or .nemo); default: those in diarizer/ in --models-dir or beside the pair"
    )
    max_speakers: int = Field(
        0, ge=0, le=100, description="speakers of a stream at most; 0: as many as can be told apart"
    )
    enroll: Names = Field(
        (), description="voices known by name, as NAME=RECORDING, by commas, or the flag once for each"
    )
    sortformer_chunk: int = Field(6, ge=1, le=1000, description="frames of 80 ms that Sortformer decides at once")
    sortformer_left: int = Field(1, ge=0, le=1000, description="frames before these that it hears again")
    sortformer_right: int = Field(7, ge=0, le=1000, description="frames after these that it waits for")
    sortformer_fifo: int = Field(188, ge=0, le=2000, description="frames of the last past that it hears with them")
    sortformer_cache: int = Field(188, ge=16, le=2000, description="frames of all speakers that it hears with them")
    sortformer_update: int = Field(144, ge=1, le=3000, description="frames that leave the FIFO for the cache at once")

    @field_validator("allowed_origins", "tls_names", "tls_host_names", "languages", "enroll", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        for first, second in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
            if getattr(self, first) and not getattr(self, second):
                raise ValueError(f"{describe(first)} needs {describe(second)} too")
        if self.target_language and not self.translation_dir:
            raise ValueError(f"{describe('target_language')} needs {describe('translation_dir')} too")
        for given in self.enroll:
            name, _, file = given.partition("=")
            if not name.strip() or not file.strip():
                raise ValueError(f"{describe('enroll')} is {given!r}: give it as NAME=RECORDING")
        return self

    @property
    def voices(self) -> dict[str, str]:
        """Recordings of `enroll` by their names."""
        return {name.strip(): file.strip() for name, _, file in (given.partition("=") for given in self.enroll)}

    def sortformer(self) -> "SortformerConfig":
        """How Sortformer goes through streams.

        Raises:
            UsageError: its settings don't fit together.
        """
        from appliance.speakers.sortformer_config import SortformerConfig

        return SortformerConfig(
            chunk=self.sortformer_chunk,
            left=self.sortformer_left,
            right=self.sortformer_right,
            fifo=self.sortformer_fifo,
            cache=self.sortformer_cache,
            update=self.sortformer_update,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        by_older_names = InitSettingsSource(settings_cls, init_kwargs=older(os.environ))
        assert isinstance(init_settings, InitSettingsSource)
        in_file = InitSettingsSource(settings_cls, init_kwargs=init_settings.init_kwargs.pop(IN_FILE, {}))
        return init_settings, env_settings, by_older_names, in_file


IN_FILE = "_in_file"
"""What was read from an env file is given to `Settings` under this name."""


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return PREFIX + name.upper()


def describe(name: str) -> str:
    """A setting's name as users write it."""
    return f"{flag(name)} ({variable(name)})"


def older(values: Mapping[str, str | None]) -> dict[str, str]:
    """Settings by their names, of variables by their older ones."""
    return {name: value for older, name in OLDER_NAMES.items() if (value := values.get(older))}
