"""The real script and openssl, and what Python thinks of their work."""

import os
import shutil
import signal
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from appliance.server.authority import AUTHORITY_DAYS, LEAF_DAYS, Authority, fingerprint, new_leaf, pem, permitted
from appliance.server.certificate import check
from appliance.server.renewal import SELF_SIGNED, alternatives, subject_names
from appliance.server.tls import due, files_in, keep
from tests.conftest import ROOT, missing
from tests.programs import put
from tests.server.certificates import (
    days_ago,
    loaded,
    put_foreign,
    put_ours,
    serving,
    shake_hands,
    stands,
)

SCRIPT = ROOT / "scripts/wlk_cert.sh"
NEEDED = (
    *("cat", "chmod", "chown", "chroot", "date", "id", "ln", "mkdir", "mktemp", "mv", "readlink", "rm"),
    *("stat", "sync", "tail", "tr", "uname", "openssl", "bash"),
)
GIVEN = ["box.example", "192.0.2.77", "fd00::9", "2001:db8::1:0:5", "my_box"]


def wlk_cert(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WLK_", "STATE_DIRECTORY"))}
    command = ["bash", str(SCRIPT), *map(str, words)]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)


def done(*words: str | Path, **environment: str) -> str:
    ran = wlk_cert(*words, **environment)
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--renew",), "unknown option: --renew"),
        (("--dir",), "--dir needs a value"),
        (("--dir", ""), "--dir is empty"),
        (("--owner", "wlk"), "--owner is no UID:GID: wlk"),
        (("--names", "a..b"), "--names: not a host name or address: a..b"),
        (("--names", "1:2"), "--names: not a host name or address: 1:2"),
        (("--names", "*.example"), "--names: not a host name or address: *.example"),
    ],
)
def test_wrong_use_is_told_with_status_2(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    ran = wlk_cert(*words, WLK_STATE_DIR=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"error: {message}" in ran.stderr and "hint:" in ran.stderr


def test_help_lists_the_options() -> None:
    said = done("--help")
    for option in ("--dir", "--names", "--owner", "--check", "--fingerprint"):
        assert option in said


def test_made_once_then_quiet(tmp_path: Path) -> None:
    first = wlk_cert("--dir", tmp_path, "--check")
    assert (first.returncode, first.stdout) == (1, "due: a new CA and certificate: first start\n")
    assert list(tmp_path.iterdir()) == []
    said = done("--dir", tmp_path)
    assert said.count("\n") == 1 and "(first start), browsers must trust the CA once" in said
    assert done("--dir", tmp_path) == done("--dir", tmp_path, "--check") == ""
    assert done("--dir", tmp_path, "--fingerprint").strip() in said
    for name, mode in (("key.pem", 0o600), ("ca-key.pem", 0o600), ("certificate.pem", 0o644), ("ca.pem", 0o644)):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == mode
    assert sorted(path.name for path in (tmp_path / "tls" / "current").iterdir()) == [
        "ca-key.pem",
        "ca.pem",
        "certificate.pem",
        "key.pem",
    ]


def test_it_is_what_python_makes(tmp_path: Path) -> None:
    """Names, constraints, extensions and lives are the same."""
    done("--dir", tmp_path / "bash", "--names", ",".join(GIVEN))
    keep(tmp_path / "python", GIVEN)
    for of in ("certificate", "authority"):
        by_bash, by_python = (loaded(getattr(files_in(tmp_path / who), of)) for who in ("bash", "python"))
        assert {x.oid for x in by_bash.extensions} == {x.oid for x in by_python.extensions}
        for kind in (x509.BasicConstraints, x509.KeyUsage):
            assert by_bash.extensions.get_extension_for_class(kind) == by_python.extensions.get_extension_for_class(
                kind
            )
        assert set(permitted(by_bash)) == set(permitted(by_python))
        assert set(alternatives(by_bash)) == set(alternatives(by_python))
        assert abs(by_bash.not_valid_before_utc - by_python.not_valid_before_utc).total_seconds() < 60
        assert abs(by_bash.not_valid_after_utc - by_python.not_valid_after_utc).total_seconds() < 60
        assert [a.oid for a in by_bash.subject] == [a.oid for a in by_python.subject]
    assert set(alternatives(loaded(files_in(tmp_path / "bash").certificate))) == set(subject_names(GIVEN))


def test_every_name_is_served_under_the_ca(tmp_path: Path) -> None:
    done("--dir", tmp_path, "--names", ",".join(GIVEN))
    files = files_in(tmp_path)
    for name in subject_names(GIVEN):
        shake_hands(serving(files), str(name.value), files.authority)
    words = ["openssl", "verify", "-x509_strict", "-no-CApath", "-CAfile", str(files.authority), str(files.certificate)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_a_name_outside_is_refused_though_the_ca_signed_it(tmp_path: Path) -> None:
    done("--dir", tmp_path)
    files = files_in(tmp_path)
    key = load_pem_private_key((tmp_path / "tls/ca-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf, leaf_key = new_leaf(Authority(loaded(files.authority), key), [x509.DNSName("evil.example")])
    (tmp_path / "evil").mkdir()
    evil = files_in(tmp_path / "evil")
    evil.key.parent.mkdir()
    evil.certificate.write_bytes(pem(leaf))
    evil.key.write_bytes(pem(leaf_key))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(serving(evil), "evil.example", files.authority)


def test_each_goes_on_with_what_the_other_made(tmp_path: Path) -> None:
    done("--dir", tmp_path, "--names", "box.example")
    assert keep(tmp_path, ["box.example"]).said == ""
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes((tmp_path / "tls/ca.pem").read_bytes())
    assert "(10.77.0.1 was added), the CA stays" in keep(tmp_path, ["10.77.0.1"]).said
    assert done("--dir", tmp_path, "--names", "box.example,10.77.0.1") == ""
    assert "(10.77.0.2 was added), the CA stays" in done("--dir", tmp_path, "--names", "10.77.0.2")
    for name in ("box.example", "10.77.0.1", "10.77.0.2"):
        shake_hands(serving(files_in(tmp_path)), name, trusted)
    assert due(tmp_path, ["box.example", "10.77.0.1", "10.77.0.2"]).why == ""


@pytest.mark.parametrize(
    ("made", "leaf_made", "why", "stays"),
    [
        (0, LEAF_DAYS - 20, "the old one expires", True),
        (0, LEAF_DAYS + 5, "the old one expired", True),
        (AUTHORITY_DAYS - 50, 0, "the CA expires", False),
        (AUTHORITY_DAYS + 5, LEAF_DAYS, "the CA expired", False),
    ],
)
def test_renewed_by_age(tmp_path: Path, made: float, leaf_made: float, why: str, stays: bool) -> None:
    put_ours(tmp_path, made=days_ago(made), leaf_made=days_ago(leaf_made))
    before = loaded(files_in(tmp_path).authority)
    assert wlk_cert("--dir", tmp_path, "--check").stdout.endswith(f": {why}\n")
    said = done("--dir", tmp_path)
    assert f"({why})" in said and ("the CA stays" in said) is stays
    assert (loaded(files_in(tmp_path).authority) == before) is stays
    stands(files_in(tmp_path))
    assert due(tmp_path).why == done("--dir", tmp_path) == ""


def test_a_late_clock_is_no_reason(tmp_path: Path) -> None:
    put_ours(tmp_path, made=days_ago(-700), leaf_made=days_ago(-700))
    assert done("--dir", tmp_path) == ""


def test_what_was_lost_is_made_again(tmp_path: Path) -> None:
    put_ours(tmp_path)
    tls = tmp_path / "tls"
    for name, why in (
        ("certificate.pem", "it was lost"),
        ("key.pem", "the key is not the certificate's"),
        ("ca-key.pem", "the CA's key is lost"),
        ("ca.pem", "there is no CA yet"),
    ):
        (tls / name).unlink()
        assert f"({why})" in done("--dir", tmp_path)
        stands(files_in(tmp_path))


def test_a_name_outside_the_constraints_makes_a_new_ca_that_keeps_the_old_names(tmp_path: Path) -> None:
    put_ours(tmp_path)
    said = done("--dir", tmp_path, "--names", "hall.example")
    assert "(hall.example is outside what the CA may name), browsers must trust the new CA instead of the old" in said
    for name in ("box.example", "hall.example"):
        assert done("--dir", tmp_path, "--names", name) == ""
        shake_hands(serving(files_in(tmp_path)), name, files_in(tmp_path).authority)


def test_a_name_that_is_not_ascii_is_left_to_the_server(tmp_path: Path) -> None:
    """A browser asks for its ASCII form, which needs tables that a shell doesn't have."""
    ran = wlk_cert("--dir", tmp_path, "--names", "bücher.example,box.example")
    assert ran.returncode == 0 and "warning: --names: bücher.example is left to the server" in ran.stderr
    assert x509.DNSName("box.example") in alternatives(loaded(files_in(tmp_path).certificate))
    stands(files_in(tmp_path))


def test_found_addresses_outside_are_left_out_for_the_cas_sake(tmp_path: Path) -> None:
    put_ours(tmp_path, [name for name in subject_names() if isinstance(name, x509.DNSName)])
    assert "the CA stays" in done("--dir", tmp_path)
    assert due(tmp_path).why == done("--dir", tmp_path) == ""


def test_a_self_signed_certificate_of_before_gives_way(tmp_path: Path) -> None:
    put_foreign(tmp_path, organisation=SELF_SIGNED)
    assert "(there is no CA yet), browsers must trust the CA once" in done("--dir", tmp_path)
    stands(files_in(tmp_path))


def test_certificate_of_a_site_in_our_place_is_kept(tmp_path: Path) -> None:
    theirs = put_foreign(tmp_path, days=3).certificate.read_bytes()
    assert done("--dir", tmp_path, "--names", "new.example") == ""
    assert files_in(tmp_path).certificate.read_bytes() == theirs and not (tmp_path / "tls/ca.pem").exists()
    put_foreign(tmp_path, days=-3)
    expired = wlk_cert("--dir", tmp_path)
    assert expired.returncode == 1 and "which is the site's own, expired" in expired.stderr


def test_certificate_of_a_site_takes_precedence(tmp_path: Path) -> None:
    own = put_foreign(tmp_path / "site")
    given = {"WLK_TLS_CERT": str(own.certificate), "WLK_TLS_KEY": str(own.key)}
    state = tmp_path / "state"
    assert done("--dir", state, **given) == done("--dir", state, "--check", **given) == ""
    assert not state.exists()
    assert wlk_cert("--dir", state, "--fingerprint", **given).returncode == 1
    assert wlk_cert("--dir", state, WLK_TLS_CERT="x").returncode == 2


def test_fingerprint(tmp_path: Path) -> None:
    assert wlk_cert("--dir", tmp_path, "--fingerprint").returncode == 1
    put_ours(tmp_path)
    assert (
        done("--fingerprint", STATE_DIRECTORY=str(tmp_path)) == fingerprint(loaded(files_in(tmp_path).authority)) + "\n"
    )


def test_it_needs_bash_coreutils_and_openssl_alone(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    for expected in (1, 0):
        assert done("--dir", tmp_path / "state", PATH=str(programs)).count("\n") == expected
    stands(files_in(tmp_path / "state"))


def test_at_once_with_others_and_with_python_makes_one_ca(tmp_path: Path) -> None:
    if shutil.which("flock") is None:
        missing("flock, without which the script takes no turns")
    command = ["bash", str(SCRIPT), "--dir", str(tmp_path)]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [keep(tmp_path).said, *(process.communicate()[0] for process in at_once)]
    assert [process.returncode for process in at_once] == [0, 0, 0]
    assert len([line for line in said if line]) == 1
    stands(files_in(tmp_path))


def test_the_owner_can_read_what_root_made(tmp_path: Path) -> None:
    """The folder is one that its owner can't reach by name, like an engine's volumes."""
    if os.geteuid() != 0:
        missing("root, who may write for another user")
    tmp_path.chmod(0o700)
    state = tmp_path / "state"
    done("--dir", state)
    assert "the CA stays" in done("--dir", state, "--owner", "10001:10001", "--names", "10.5.5.5")
    assert "the CA stays" in done("--dir", state, "--names", "10.5.5.6"), "the folder's owner goes without saying"
    for path in [state, *state.rglob("*")]:
        assert (path.lstat().st_uid, path.lstat().st_gid) == (10001, 10001), path
    for name in ("key.pem", "ca-key.pem"):
        assert stat.S_IMODE((state / "tls" / name).stat().st_mode) == 0o600
    stands(files_in(state))
    refused = subprocess.run(
        [
            "chroot",
            "--userspec=10002:10002",
            "--groups=",
            "/",
            "bash",
            "-c",
            SCRIPT.read_text(),
            "wlk_cert.sh",
            "--owner",
            "1:1",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "WLK_STATE_DIR": "/tmp"},
    )
    assert refused.returncode == 1 and "only root can write for another user" in refused.stderr


def test_root_follows_no_link_of_the_owners(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("root, who may write for another user")
    state, theirs = tmp_path / "state", tmp_path / "root"
    theirs.mkdir(mode=0o700)
    state.mkdir()
    (state / "tls").symlink_to(theirs)
    for path in (state, state / "tls"):
        os.chown(path, 10001, 10001, follow_symlinks=False)
    ran = wlk_cert("--dir", state)
    assert ran.returncode == 1 and list(theirs.iterdir()) == [] and theirs.stat().st_uid == 0


STEPS = ("mktemp", "chmod", "rm", "sync", "ln", "mv")


def put_before(state: Path, before: str) -> None:
    if before == "ours":
        put_ours(state)
    else:
        put_foreign(state, organisation=SELF_SIGNED)


def still_fits(state: Path) -> None:
    """The pair can be served with as it is, and the server goes on with it."""
    files = files_in(state)
    check(files)
    if files.authority and files.authority.exists():
        stands(files)
    keep(state, ["10.66.0.1"])
    shake_hands(serving(files), "10.66.0.1", files.authority)


def with_steps(folder: Path, before_each: str) -> dict[str, str]:
    """An environment where every program that changes files does this first; its number is in `$n`, from 0."""
    for name in STEPS:
        put(
            folder / "programs",
            name,
            f'read -r n <{folder}/count; echo "$((n + 1))" >{folder}/count\n'
            f'{before_each}\nexec {shutil.which(name)} "$@"',
        )
    (folder / "count").write_text("0\n")
    return {**os.environ, "PATH": f"{folder / 'programs'}:{os.environ['PATH']}"}


@pytest.mark.parametrize("before", ["self-signed", "ours"])
def test_killed_at_any_moment_the_pair_still_fits(tmp_path: Path, before: str) -> None:
    """Each step is a program. What a kill would leave behind is copied before every one of them, in one run; at the
    first, the last and one between, the program whose turn it is does kill the script, and itself."""
    state = tmp_path / "state"
    command = ["bash", str(SCRIPT), "--dir", str(state), "--names", "10.66.0.1"]
    put_before(state, before)
    env = with_steps(tmp_path, f"{shutil.which('cp')} -a {state} {tmp_path}/$n")
    assert subprocess.run(command, env=env, start_new_session=True, capture_output=True, check=False).returncode == 0
    steps = int((tmp_path / "count").read_text())
    assert steps > 5
    still_fits(state)
    for step in range(steps):
        still_fits(tmp_path / str(step))
    for step in (0, steps // 2, steps - 1):
        shutil.rmtree(state)
        put_before(state, before)
        env = with_steps(tmp_path, f'[ "$n" != {step} ] || kill -9 0')
        killed = subprocess.run(command, env=env, start_new_session=True, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        still_fits(state)
