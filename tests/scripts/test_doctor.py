"""The real script on a small installed site; programs that can't run here have stand-ins."""

import dataclasses
import json
import os
import shutil
import socket
import stat
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.server.renewal import subject_names
from tests.conftest import ROOT
from tests.delivery import bundles
from tests.programs import put
from tests.server.certificates import days_ago, put_foreign, put_ours

SCRIPT = ROOT / "scripts/doctor.sh"
IMAGE = f"sha256:{'1' * 64}"
ENGINE = {
    "ps": "",
    "--version": "echo Docker version 24.0.7, build 1",
    "version": "echo 24.0.7",
    "info": 'case "$3" in *Runtimes*) echo runc nvidia ;; *) echo /tmp ;; esac',
    "image": f"echo {IMAGE}",
    "inspect": f"""case "$3" in *Running*) echo true ;; '') echo '{{
        "Env": ["x"],
        "WLK_TOKEN=hunter2hunter2"
    }}' ;; *) echo {IMAGE} false ;; esac""",
    "port": "echo 0.0.0.0:$(cat {port})",
    "exec": """case "$*" in
        *health*) echo 'ready, model base' ;;
        *doctor*) printf 'ok\\tpair\\tbase: fits\\t\\nwarning\\tdisk\\tnarrow\\tdf -h\\n' ; exit 1 ;;
    esac""",
}
RUNNING = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}


@dataclass
class Site:
    """An installed appliance: its places, and what the programs around it say."""

    root: Path
    key: Ed25519PrivateKey
    engine: dict[str, str]
    unit: dict[str, str]

    @property
    def release(self) -> Path:
        return self.root / "opt/releases/0.2.0-abc"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def settings(self, text: str, name: str = "wlk", mode: int = 0o600) -> Path:
        file = self.root / "etc" / f"{name}.env"
        file.write_text(text)
        file.chmod(mode)
        return file

    def relist(self, **facts: object) -> None:
        """Sign the release again, as it is now, with other facts."""
        contents = bundles.make(self.root / "scrap", self.key)
        files = bundles.entries(self.release)
        changed = dataclasses.replace(contents, files=files, **facts)  # type: ignore[arg-type]
        bundles.sign(self.release, changed.text(), self.key)

    def put_certificate(self) -> None:
        shutil.rmtree(self.state / "tls", ignore_errors=True)
        put_ours(self.state, subject_names())

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "WLK_PREFIX": str(self.root / "opt"),
            "WLK_CONFIG": str(self.root / "etc"),
            "WLK_STATE": str(self.state),
            "WLK_UNITS": str(self.root / "units"),
            "WLK_ENGINE": str(self.root / "bin/docker"),
            "WLK_TEGRA_RELEASE": str(self.root / "tegra"),
        }

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        port = self.root / "port"
        rows = "".join(f"{name}) {body.replace('{port}', str(port))} ;;\n" for name, body in self.engine.items())
        put(self.root / "bin", "docker", f'case "$1" in\n{rows}esac')
        told = "\n".join(f"{name}={value}" for name, value in self.unit.items())
        put(self.root / "bin", "systemctl", f'case "$1" in show) cat <<END\n{told}\nEND\n;; esac')
        code = f'. {SCRIPT}; OWNER="$(id -u):$(id -g)"; {code}'
        return subprocess.run(
            ["bash", "-c", code],
            env=self.environment(),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )

    def look(self, *checks: str) -> dict[str, tuple[str, str, str]]:
        """Severity, what was seen and the remedy, by name, of some checks."""
        ran = self.run("; ".join([*checks, "print_json"]))
        assert ran.stderr == ""
        return by_check(ran.stdout)


def by_check(text: str) -> dict[str, tuple[str, str, str]]:
    return {row["check"]: (row["severity"], row["seen"], row["remedy"]) for row in json.loads(text)["findings"]}


@pytest.fixture
def site(tmp_path: Path, key: Ed25519PrivateKey) -> Site:
    made = Site(tmp_path, key, dict(ENGINE), dict(RUNNING))
    for folder in ("etc", "units", "state"):
        (tmp_path / folder).mkdir(mode=0o700)
    bundles.make(made.release, key)
    (tmp_path / "opt/current").symlink_to("releases/0.2.0-abc")
    shutil.copytree(made.release, tmp_path / "opt/releases/0.1.0-old")
    (tmp_path / "opt/previous").symlink_to("releases/0.1.0-old")
    bundles.public(tmp_path, key).rename(tmp_path / "etc/bundle-key.pem")
    made.settings("WLK_MODEL=base\nWLK_PORT=8000\nWLK_TOKEN=hunter2hunter2\nWLK_MEMORY=700m\n")
    put(tmp_path / "bin", "journalctl", "echo 2026-11-01T10:00:00 box wlk: INFO fine")
    put(tmp_path / "bin", "timedatectl", "echo yes")
    put(tmp_path / "bin", "nvidia-smi", "echo NVIDIA X, 580.1")
    (tmp_path / "port").write_text("8000")
    return made


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


# ---- the whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--jsn",), "unknown option: --jsn"),
        (("--support-bundle",), "--support-bundle needs a value"),
        (("--support-bundle", "/none/x.tar.gz"), "no folder /none"),
        (("--support-bundle", "/etc/passwd"), "/etc/passwd is there already"),
    ],
)
def test_wrong_usage_is_status_64(words: tuple[str, ...], message: str) -> None:
    ran = subprocess.run(["bash", SCRIPT, *words], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (64, "")
    assert f"error: {message}" in ran.stderr and "hint:" in ran.stderr


def test_help_tells_options_and_statuses() -> None:
    ran = subprocess.run(["bash", SCRIPT, "--help"], capture_output=True, text=True, check=True)
    for word in ("--json", "--deep", "--support-bundle", "64 wrong usage"):
        assert word in ran.stdout


def serve_here(site: Site) -> socket.socket:
    """A port that answers, which the settings and the engine name."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    (site.root / "port").write_text(str(port))
    site.settings(f"WLK_PORT={port}\nWLK_TOKEN=hunter2hunter2\nWLK_MEMORY=700m\n")
    return listening


def test_a_sound_site(site: Site) -> None:
    site.put_certificate()
    site.engine["exec"] = 'case "$*" in *doctor*) printf "ok\\tpair\\tfits\\t\\n" ;; *) echo ready ;; esac'
    with serve_here(site):
        ran = site.run("json=1; main")
    found = by_check(ran.stdout)
    assert {check: row for check, row in found.items() if row[0] != "ok"} == {}
    assert ran.returncode == 0 and json.loads(ran.stdout)["worst"] == "ok"
    wanted = {"openssl", "release", "rollback", "engine", "architecture", "image", "disk", "disk state", "disk engine"}
    wanted |= {"clock", "state", "certificate", "certificate names", "renewal", "service", "settings", "model"}
    assert wanted | {"memory", "port", "ready", "inside pair", "log"} <= set(found)


def test_text_names_the_worst_by_its_status(site: Site) -> None:
    ran = site.run("check_programs; warning disk 'narrow' 'df -h'; examine() { :; }; main")
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[1:] == [
        "warning  disk     narrow",
        "                  -> df -h",
        "",
        "0 error, 1 warning, 0 note, 1 ok",
    ]
    assert site.run("error x y; warning a b; examine() { :; }; main").returncode == 2
    assert site.run("note x y; examine() { :; }; main").returncode == 0


def test_whatever_was_seen_json_stays_json(site: Site) -> None:
    site.settings("WLK_TOKEN='s3cr*t'\n")
    seen = r"""$'a "b" \\ c\td\n\x1b[31m \x80\xff\xc3( gr\xc3\xbc\xc3\x9fe \xed\xa0\x80 s3cr*t'"""
    (row,) = site.look(f'find_secrets; note x {seen} "$(printf %01000d 7)"').values()
    assert row[1] == 'a "b" \\ c d ?[31m ???( grüße ??? (secret)'
    assert len(row[2]) == 600


def test_an_engine_that_hangs_does_not_hang_the_doctor(site: Site) -> None:
    site.engine["ps"] = "sleep 30"
    found = site.look("LIMIT=0.2", "check_release", "check_engine", "check_image", "check_disks", 'check_instance ""')
    assert found["engine"][0] == "error" and "no answer within 0.2 s" in found["engine"][1]
    site.engine |= {"ps": "", "info": "sleep 30", "image": "sleep 30", "inspect": "sleep 30", "version": "sleep 30"}
    found = site.look("LIMIT=1", "check_release", "check_engine", "check_image", "check_disks")
    assert [found[check][0] for check in ("engine", "image", "disk engine")] == ["warning", "error", "note"]


# ---- this machine


def test_who_looks(site: Site) -> None:
    assert site.look("id() { echo 0; }", "check_user") == {}
    assert site.look("id() { echo 1000; }", "check_user")["user"][0] == "note"


def test_engines(site: Site) -> None:
    site.engine["ps"] = "echo Cannot connect >&2; exit 1"
    assert site.look("check_engine")["engine"][:2] == (
        "error",
        f"no container engine answers: {site.root}/bin/docker: Cannot connect",
    )
    assert site.look("WLK_ENGINE=/none/docker", "check_engine")["engine"][0] == "error"
    site.engine["ps"] = f"echo asked >>{site.root}/asked; exit 1"
    site.look("WLK_ENGINE='docker $WLK_ENGINE docker'", "check_engine")
    assert (site.root / "asked").read_text() == "asked\n"
    site.engine["ps"] = ""
    assert site.look("check_engine")["engine"][0] == "ok"
    site.engine["version"] = "echo 19.03.1"
    assert site.look("check_engine")["engine"][0] == "error"
    site.engine["--version"] = "echo podman version 4.9.3"
    assert "4.9.3" in site.look("check_engine")["engine"][1]


def test_zstd_is_needed_for_an_older_docker(site: Site) -> None:
    site.engine["version"] = "echo 20.10.24"
    without = 'command() { [ "$2" != zstd ] && builtin command "$@"; }'
    assert site.look(without, "check_release", "check_engine")["zstd"][0] == "warning"
    assert "zstd" not in site.look("command() { echo x; }", "check_release", "check_engine")
    site.engine["version"] = "echo 23.0.1"
    assert "zstd" not in site.look(without, "check_release", "check_engine")


def test_openssl_of_other_times(site: Site) -> None:
    for said, severity in (("OpenSSL 3.0.1 x (y)", "ok"), ("OpenSSL 1.1.1n", "error"), ("LibreSSL 3.5", "error")):
        put(site.root / "bin", "openssl", f"echo '{said}'")
        assert site.look("check_programs")["openssl"][0] == severity
    put(site.root / "bin", "openssl", "exit 127")
    assert site.look("check_programs")["openssl"][0] == "error"


@pytest.mark.parametrize(("free", "severity"), [(10**6, "error"), (60 * 10**6, "warning"), (10**9, "ok")])
def test_room(free: int, severity: str, site: Site) -> None:
    put(site.root / "bin", "df", f"echo head; echo '{free} {free}'")
    found = site.look(f"check_room disk {site.root} 50000000 100000000 'the next release'")["disk"]
    assert found[0] == severity and bool(found[2]) == (severity != "ok")


def test_files_without_inodes_and_a_disk_that_does_not_answer(site: Site) -> None:
    put(site.root / "bin", "df", 'case "$*" in *iavail*) echo "5000000 3" ;; *) echo "1 9000000000" ;; esac')
    assert site.look(f"check_room disk {site.root} 1 2 x")["disk"][0] == "error"
    put(site.root / "bin", "df", "sleep 9")
    assert site.look("LIMIT=0.1", f"check_room disk {site.root} 1 2 x")["disk"][0] == "error"


def test_room_is_measured_by_what_comes(site: Site) -> None:
    put(site.root / "bin", "df", 'echo "5000000 230000000"')
    site.relist(tar_size=10**9)
    found = site.look("check_release", "check_engine", "check_disks")
    assert (found["disk"][0], found["disk state"][0], found["disk engine"][0]) == ("ok", "ok", "warning")


def test_the_clock(site: Site) -> None:
    assert site.look("check_release", "check_clock")["clock"][0] == "ok"
    put(site.root / "bin", "timedatectl", "echo no")
    assert site.look("check_release", "check_clock")["clock"][0] == "note"
    site.relist(made="2199-01-01T00:00:00Z")
    found = site.look("check_release", "check_clock")["clock"]
    assert found[0] == "error" and "2199-01-01" in found[1] and "timedatectl set-time" in found[2]


# ---- what is installed


def test_a_release_that_is_whole(site: Site) -> None:
    found = site.look("check_release", "check_architecture")
    assert found["release"] == ("ok", "version 0.2.0, cpu with base small.en: 5 files in their sizes", "")
    assert found["rollback"][0] == found["architecture"][0] == "ok" and "key" not in found


def test_releases_that_are_not(site: Site) -> None:
    (site.release / "verify.sh").write_text("shorter")
    (site.release / "accounts/build.json").unlink()
    found = site.look("check_release")["release"]
    assert found[0] == "error" and "(and 1 more)" in found[1]
    (site.release / "CONTENTS").write_text("else")
    assert site.look("check_release")["release"][0] == "error"
    (site.root / "opt/current").unlink()
    (site.root / "opt/current").symlink_to("releases/gone")
    found = site.look("check_release")["release"]
    assert found[0] == "error" and "which is gone" in found[1]
    (site.root / "opt/current").unlink()
    found = site.look("check_release")["release"]
    assert found[0] == "error" and "nothing is installed" in found[1]
    site.state.rmdir()
    assert {"state", "certificate", "service"}.isdisjoint(site.look("examine"))


def test_what_was_put_together_from_a_delta_is_whole(site: Site) -> None:
    content = (site.release / "image.tar.zst").read_bytes()
    (site.release / "image.tar.zst").unlink()
    (site.release / "image.tar").write_bytes(content)
    assert site.look("check_release")["release"][0] == "ok"
    (site.release / "image.tar").write_bytes(content[1:])
    assert site.look("check_release")["release"][0] == "error"


def test_deep_reads_every_byte(site: Site) -> None:
    for name in ("verify.sh", "signed.sh", "errors.sh"):
        shutil.copy(ROOT / "scripts" / name, site.release / name)
    site.relist()
    assert site.look("deep=1", "check_release")["signature"][0] == "ok"
    archive = site.release / "image.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")
    found = site.look("deep=1", "check_release")
    assert (found["release"][0], found["signature"][0]) == ("ok", "error")


def test_previous_and_key(site: Site) -> None:
    (site.root / "etc/bundle-key.pem").unlink()
    shutil.rmtree(site.root / "opt/releases/0.1.0-old")
    found = site.look("check_release")
    assert found["rollback"][0] == "warning" and found["key"][0] == "warning"
    (site.root / "opt/previous").unlink()
    assert site.look("check_release")["rollback"][0] == "note"


def test_another_architecture(site: Site) -> None:
    site.relist(architecture="s390x")
    found = site.look("check_release", "check_architecture")["architecture"]
    assert found[0] == "error" and "s390x" in found[1]


def test_an_image_that_is_not_loaded(site: Site) -> None:
    assert site.look("check_release", "check_engine", "check_image")["image"][0] == "ok"
    site.engine["image"] = "exit 1"
    found = site.look("check_release", "check_engine", "check_image")["image"]
    assert found[0] == "error" and found[2] == "systemctl restart wlk-load"


# ---- what it keeps


def test_the_state_folder(site: Site) -> None:
    assert site.look("check_state")["state"][0] == "ok"
    assert site.look("OWNER=1:1", "check_state")["state"][0] == "error"
    site.state.chmod(0o755)
    assert site.look("check_state")["state"][0] == "warning"
    site.state.chmod(0o500)
    assert site.look("check_state")["state"][0] == "error"
    site.state.rmdir()
    assert site.look("check_state")["state"][0] == "error"


def test_dates_of_the_certificate(site: Site) -> None:
    ages = {-10: "clock is late", 300: "valid until", 380: "not renewed", 500: "expired on"}
    for days in ages:
        put_ours(site.state / str(days), subject_names(), made=days_ago(600), leaf_made=days_ago(days))
    each = f"for age in {' '.join(map(str, ages))}; do check_dates $STATE/$age/tls/certificate.pem again; done"
    ran = site.run(f"{each}; print_json")
    found = json.loads(ran.stdout)["findings"]
    assert [row["severity"] for row in found] == ["error", "ok", "warning", "error"]
    assert [row["remedy"] for row in found[1:]] == ["", "again", "again"]
    for row, seen in zip(found, ages.values(), strict=True):
        assert seen in row["seen"]


def test_names_of_the_certificate(site: Site) -> None:
    put_ours(site.state, subject_names())
    assert site.look("check_certificate")["certificate names"][0] == "ok"
    found = site.look("WLK_TLS_NAMES=new.example", "check_certificate")["certificate names"]
    assert found[0] == "warning" and "new.example" in found[1]
    put_foreign(site.state / "theirs", days=200)
    found = site.look(f"STATE={site.state}/theirs", "check_certificate")
    assert (found["certificate"][0], found["certificate names"][0]) == ("ok", "ok")
    elsewhere = 'uname() { echo elsewhere; }; bounded() { case $1 in hostname) ;; *) "$@" ;; esac; }'
    found = site.look(elsewhere, f"STATE={site.state}/theirs", "check_certificate")
    assert found["certificate names"][0] == "warning"
    put_ours(site.state / "others", [x509.DNSName("other.example")])
    assert site.look(f"STATE={site.state}/others", "check_certificate")["certificate names"][0] == "warning"


def test_keys_of_the_certificate(site: Site) -> None:
    assert site.look("check_certificate")["certificate"][0] == "error"
    put_ours(site.state, subject_names())
    assert "certificate key" not in site.look("check_certificate")
    key = (site.state / "tls/key.pem").resolve()
    key.chmod(0o644)
    assert site.look("check_keys $STATE/tls")["certificate key"] == (
        "error",
        f"others may read the private key {site.state}/tls/key.pem (mode 644)",
        f"chmod 0600 {key}",
    )
    key.chmod(0o600)
    found = site.look("OWNER=1:1", "check_keys $STATE/tls")["certificate key"]
    assert found[0] == "error" and "can't read it" in found[1]
    shutil.copy(site.state / "tls/ca-key.pem", key)
    found = site.look("check_certificate")["certificate key"]
    assert found[0] == "error" and "not the key" in found[1]
    assert site.look("WLK_TLS_CERT=/etc/x.pem", "check_certificate")["certificate"][0] == "note"
    (site.state / "tls/certificate.pem").resolve().write_text("none")
    assert site.look("check_certificate")["certificate"][0] == "error"
    assert site.look("WLK_TLS=off", "check_certificate")["certificate"][0] == "note"


# ---- settings, units, instances


@pytest.mark.parametrize(
    ("text", "mode", "severity"),
    [
        ("WLK_TOKEN=x\n", 0o600, "ok"),
        ("WLK_TOKEN=x\n", 0o644, "warning"),
        ("WLK_TOKEN=\nWLK_PORT=1\n# WLK_TOKEN=x\n", 0o644, "ok"),
        ("WLK_TOKEN=hunter2hunter2\nPORT 8000\n", 0o600, "error"),
    ],
)
def test_settings(text: str, mode: int, severity: str, site: Site) -> None:
    file = site.settings(text, mode=mode)
    ran = site.run("find_secrets; load_settings ''; print_json")
    found = by_check(ran.stdout)["settings"]
    assert found[0] == severity and "hunter2" not in ran.stdout + ran.stderr
    if severity == "warning":
        assert found[2] == f"chmod 0600 {file}"


@pytest.mark.parametrize(("mode", "severity"), [(0o600, "ok"), (0o640, "warning")])
def test_tokens_with_names(mode: int, severity: str, site: Site) -> None:
    files = [site.root / "etc/tokens", site.root / "own"]
    for number, file in enumerate(files):
        file.write_text(f"# of anna\nanna: hunter2hunter{number}\r\nbert\thunter2horse{number}\n")
        file.chmod(mode)
    site.settings(f'WLK_TOKEN_FILE="{files[1]}"\n')
    ran = site.run(
        "find_secrets; check_tokens; note x 'hunter2hunter0 hunter2horse0 hunter2hunter1 hunter2horse1'; print_json"
    )
    rows = [row for row in json.loads(ran.stdout)["findings"] if row["check"] == "tokens"]
    assert [row["severity"] for row in rows] == [severity] * 2
    assert [str(file) in row["seen"] for file, row in zip(files, rows, strict=True)] == [True, True]
    assert "hunter2" not in ran.stdout + ran.stderr
    assert all(
        (f"chmod 0600 {file}" in row["remedy"]) is (severity == "warning")
        for file, row in zip(files, rows, strict=True)
    )


def test_no_settings_are_fine_and_those_of_this_shell_are_not_the_service_s(site: Site) -> None:
    (site.root / "etc/wlk.env").unlink()
    assert site.look("load_settings ''")["settings"][0] == "note"
    ran = subprocess.run(
        ["bash", "-c", f'. {SCRIPT}; echo "${{WLK_PORT:-none}} $PREFIX"'],
        env={**site.environment(), "WLK_PORT": "9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"none {site.root}/opt\n"


UNITS = (
    ("", "ok", ""),
    ("NRestarts=3", "warning", "journalctl"),
    ("UnitFileState=disabled", "warning", "systemctl enable wlk.service"),
    ("LoadState=not-found", "error", "install.sh"),
    (
        "ActiveState=failed Result=exit-code StatusText=trying",
        "error",
        "reset-failed wlk.service && systemctl start wlk.service",
    ),
    ("ActiveState=failed Result=exit-code ExecMainStatus=137", "error", "systemctl start wlk.service"),
    ("ActiveState=activating SubState=auto-restart", "error", "journalctl"),
    ("ActiveState=activating SubState=start-post NRestarts=2", "error", "journalctl"),
    ("ActiveState=activating SubState=start-post NRestarts=0", "note", "journalctl"),
    ("ActiveState=inactive", "error", "systemctl start wlk.service"),
    ("ActiveState=inactive UnitFileState=disabled", "warning", "systemctl enable --now wlk.service"),
)


def test_the_service(site: Site) -> None:
    good = " ".join(f"{name}={value}" for name, value in RUNNING.items())
    rows = "\n".join(told for told, _, _ in UNITS)
    code = f"""service=wlk.service; instances=
read_unit() {{ unit=(); for word in {good} $told; do unit["${{word%%=*}}"]="${{word#*=}}"; done; }}
while IFS= read -r told; do check_service ''; done <<'END'
{rows}
END
print_json"""
    found = json.loads(site.run(code).stdout)["findings"]
    assert [row["severity"] for row in found] == [severity for _, severity, _ in UNITS]
    for row, (told, _, remedy) in zip(found, UNITS, strict=True):
        assert remedy in row["remedy"]
        assert ("too little memory" in row["seen"]) == ("137" in told)
        assert row["seen"].endswith(": trying") == ("trying" in told)
    site.unit |= {"NeedDaemonReload": "yes"}
    changed = site.run("service=wlk.service; check_service ''; print_json").stdout
    assert json.loads(changed)["worst"] == "warning" and "daemon-reload" in changed
    site.unit = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
    assert site.look("service=wlk.service", "instances=second", "check_service ''")["service"][0] == "note"


def test_other_units(site: Site) -> None:
    assert site.look("check_units")["renewal"][0] == "ok"
    site.unit |= {"ActiveState": "failed"}
    found = site.look("check_units")
    assert found["wlk-load"][0] == found["wlk-cert"][0] == "error" and found["renewal"][0] == "warning"
    site.unit = {}
    assert site.look("check_units")["systemd"][0] == "warning"
    site.unit = {"LoadState": "not-found"}
    assert {row[0] for row in site.look("check_units").values()} == {"error"}


def test_instances_are_looked_at_with_their_own_settings(site: Site) -> None:
    site.settings("WLK_PORT=8000\n", "second")
    site.settings("WLK_PORT=none\n", "third")
    (site.root / "units/multi-user.target.wants").mkdir()
    (site.root / "units/multi-user.target.wants/wlk@fourth.service").symlink_to("/none")
    site.engine["inspect"] = "echo false"
    each = "instances=$(instances); for name in '' $instances; do check_instance \"$name\"; done"
    found = site.look("check_release", "check_engine", each)
    assert found["port"][0] == "ok" and found["service@second"][0] == "ok"
    assert found["port@second"][0] == "error" and "that of wlk.service too" in found["port@second"][1]
    assert found["port@third"][0] == "error"
    assert found["settings@fourth"][0] == "error" and "port@fourth" not in found


@pytest.mark.parametrize(
    ("target", "settings", "jetson", "driver", "wanted"),
    [
        ("cpu", "", False, True, {}),
        ("cpu", "WLK_GPUS=all", False, True, {"gpu": "error"}),
        ("cpu", "", True, True, {"gpu": "error"}),
        ("x86-cuda", "WLK_GPUS=all", False, True, {"gpu": "ok", "gpu runtime": "ok"}),
        ("x86-cuda", "WLK_GPUS=all", False, False, {"gpu": "error", "gpu runtime": "ok"}),
        ("x86-cuda", "", False, True, {"gpu": "error"}),
        ("x86-cuda", "WLK_DEVICE=cpu", False, True, {"gpu": "note"}),
        ("jetson-thor", "", True, False, {"gpu": "ok", "gpu runtime": "ok"}),
        ("jetson-thor", "", False, True, {"gpu": "error"}),
    ],
)
def test_gpus(target: str, settings: str, jetson: bool, driver: bool, wanted: dict[str, str], site: Site) -> None:
    site.relist(target=target)
    site.settings(settings)
    if jetson:
        (site.root / "tegra").write_text("# R38\n")
    if not driver:
        put(site.root / "bin", "nvidia-smi", "echo no devices; exit 9")
    found = site.look(
        "release=$PREFIX/current", "program=$WLK_ENGINE", "kind=docker", "engine=ask", "read_settings", "check_gpu"
    )
    assert {check: row[0] for check, row in found.items()} == wanted


def test_an_engine_without_runtime_for_gpus(site: Site) -> None:
    site.engine["info"] = "echo runc"
    site.relist(target="jetson-thor")
    (site.root / "tegra").write_text("# R38\n")
    look = ("release=$PREFIX/current", "program=$WLK_ENGINE", "engine_version", "engine=ask", "check_gpu")
    found = site.look(*look)["gpu runtime"]
    assert found[0] == "error" and "nvidia-ctk runtime" in found[2]
    site.engine["--version"] = "echo podman version 4.3.1"
    found = site.look(*look)["gpu runtime"]
    assert found[0] == "error" and "nvidia-ctk cdi" in found[2]


def test_models(site: Site) -> None:
    look = ("release=$(readlink -f $PREFIX/current)", "read_settings", "check_model")
    assert site.look(*look)["model"][0] == "ok"
    site.settings("")
    assert site.look(*look)["model"][1] == "base is in the image"
    models = site.root / "models"
    site.settings(f"WLK_MODEL=medium\nWLK_SITE_MODELS={models}\n")
    assert site.look(*look)["model"][0] == "error"
    halves = [models / f"{half}-whisper-medium" for half in ("faster", "pytorch")]
    for half in halves:
        half.mkdir(parents=True)
        (half / "file").write_text("x")
    site.root.chmod(0o755)
    assert site.look(*look)["model"][0] == "ok"
    (halves[1] / "file").chmod(0o600)
    found = site.look(*look)["model"]
    assert found[0] == "error" and "chmod -R a+rX" in found[2]
    (halves[1] / "file").unlink()
    found = site.look(*look)["model"]
    assert found[0] == "error" and "is empty" in found[1]
    halves[1].rmdir()
    found = site.look(*look)["model"]
    assert found[0] == "error" and "pytorch-whisper-medium" in found[1]


@pytest.mark.parametrize(
    ("given", "severity"), [("700m", "ok"), ("6x", "error"), ("100m", "warning"), ("9000g", "warning"), ("-1", "error")]
)
def test_memory(given: str, severity: str, site: Site) -> None:
    assert site.look(f"WLK_MEMORY={given}", "check_memory")["memory"][0] == severity


def test_ports(site: Site) -> None:
    look = ("service=wlk.service", "container=wlk-service", "program=$WLK_ENGINE")
    with serve_here(site):
        used = ("read_settings", *look, "running=1", "check_port ''")
        assert site.look(*used)["port"][0] == "ok"
        taken = site.look("read_settings", *look, "check_port ''")["port"]
        assert taken[0] == "error" and "(process " in taken[1]
        put(site.root / "bin", "ss", "exit 1")
        assert "somebody" in site.look("read_settings", *look, "check_port ''")["port"][1]
    found = site.look(*used)["port"]
    assert found[0] == "error" and "nobody answers" in found[1]
    assert site.look("read_settings", *look, "check_port ''")["port"][0] == "ok"
    (site.root / "port").write_text("9")
    assert site.look(*used)["port"][0] == "warning"
    for wrong in ("WLK_PORT=0", "WLK_PORT=http", "WLK_LISTEN=::1"):
        assert site.run(f"{wrong}; {'; '.join(look)}; check_port ''; worst").stdout == "error\n"


def test_the_container(site: Site) -> None:
    look = (
        "container=wlk-service",
        "service=wlk.service",
        "program=$WLK_ENGINE",
        "running=1",
        f"image={IMAGE}",
        "check_container",
    )
    found = site.look(*look)
    assert (found["ready"][0], found["inside pair"][0]) == ("ok", "ok") and "container" not in found
    assert found["inside disk"] == ("warning", "narrow", "df -h")
    site.engine["inspect"] = "echo sha256:2 true"
    site.engine["exec"] = "echo loading, model base; exit 1"
    found = site.look(*look)
    assert (found["ready"][0], found["inside"][0]) == ("warning", "warning")
    assert found["container"][0] == "error" and "WLK_MEMORY" in found["container"][2]
    site.engine["inspect"] = "echo sha256:2 false"
    site.engine["exec"] = "echo no answer; exit 1"
    found = site.look(*look)
    assert found["ready"][0] == "error" and found["container"][0] == "warning"


def test_a_container_that_is_not_there(site: Site) -> None:
    look = ("container=wlk-service", "service=wlk.service", "program=$WLK_ENGINE")
    for state in ("systemd=0", "unit=([ActiveState]=active)"):
        assert site.look(*look, state, "check_container")["container"][0] == "error"
    assert site.look(*look, "unit=([ActiveState]=failed)", "check_container") == {}


def test_the_last_error_of_the_log(site: Site) -> None:
    rows = "box wlk[1]: ERROR appliance.server.asr: 198.51.100.7:4711: session failed"
    put(site.root / "bin", "journalctl", f"echo 'old: INFO fine'; echo '{rows}'; echo 'x: INFO done'")
    found = site.look("service=wlk.service", "check_log")["log"]
    assert found[0] == "warning" and "session failed" in found[1] and "192.0.2" not in found[1]
    assert site.look("service=wlk.service", "running=1", "check_log")["log"][0] == "note"
    rows = (
        '{"time": "2026-11-22T12:00:00.123Z", "level": "ERROR", "logger": "asr", "message": "198.51.100.7:1: failed"}'
    )
    put(site.root / "bin", "journalctl", f"echo 'box wlk[1]: {rows}'")
    found = site.look("service=wlk.service", "check_log")["log"]
    assert found[0] == "warning" and "(address):1: failed" in found[1]
    put(site.root / "bin", "journalctl", "echo box wlk: error: no model x")
    assert "no model x" in site.look("service=wlk.service", "check_log")["log"][1]
    put(site.root / "bin", "journalctl", "exit 1")
    assert site.look("service=wlk.service", "check_log")["log"][0] == "note"
    put(site.root / "bin", "journalctl", "echo box wlk: INFO error free")
    assert site.look("service=wlk.service", "check_log")["log"][0] == "ok"


# ---- to be sent away


def test_the_support_bundle_holds_what_helps_and_no_secret(site: Site) -> None:
    site.put_certificate()
    site.settings(
        "# said hunter2hunter2\nWLK_TOKEN=hunter2hunter2\nWLK_INITIAL_PROMPT='Frau Quillfeather'\n"
        "WLK_PORT=8123\nSITE_PASSWORD=opensesame\nloose opensesame\n"
    )
    site.engine["inspect"] = """cat <<'END'
[{"Config": {
    "Env": [
        "WLK_TOKEN=hunter2hunter2",
        "OTHER=a \\"quoted\\" sentence"
    ],
    "Cmd": [
        "--env=SITE=cellar"
    ]
}}]
END
"""
    log = "asr: 198.51.100.7:4242 went away 198.51.100.8; GET /asr?token=guess&x=1 hunter2hunter2 Frau Quillfeather"
    put(site.root / "bin", "journalctl", f"for i in $(seq 2500); do echo row $i '{log}'; done")
    out = site.root / "x.tar.gz"
    ran = site.run(f"bundle={out}; find_secrets; check_release; check_engine; instances=; examine() {{ :; }}; main")
    assert ran.returncode == 0, ran.stdout
    assert str(out) in ran.stderr and "journal" in ran.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with tarfile.open(out) as archive:
        files = {
            member.name.partition("/")[2]: content.read().decode(errors="replace")
            for member in archive
            if (content := archive.extractfile(member))
        }
    assert json.loads(files["findings.json"])["worst"] == "ok"
    assert "version 0.2.0" in files["release.txt"] and "file " not in files["release.txt"]
    assert "WLK_PORT=8123" in files["settings.txt"] and "WLK_TOKEN=(secret)" in files["settings.txt"]
    assert "(a line that is no setting)" in files["settings.txt"]
    assert '"OTHER=(value)"' in files["inspect-wlk-service.json"]
    journal = files["journal-wlk.service.txt"].splitlines()
    assert len(journal) == 2000 and journal[-1].startswith("row 2500 ")
    assert "subject=" in files["certificate.txt"] and "ActiveState=active" in files["units.txt"]
    whole = "".join(files.values())
    for secret in ("hunter2", "Quillfeather", "opensesame", "198.51.100.", "guess", "cellar", "quoted", "PRIVATE KEY"):
        assert secret not in whole, secret
    assert not list(Path("/tmp").glob("tmp.*/wlk-support"))


def test_a_support_bundle_that_can_not_be_written(site: Site) -> None:
    put(site.root / "bin", "tar", "exit 1")
    ran = site.run(f"bundle={site.root}/x.tar.gz; examine() {{ :; }}; instances=; main")
    assert ran.returncode == 3 and "can't write" in ran.stderr and not (site.root / "x.tar.gz").exists()
