"""What install.sh does on machines that are not as it wants them, and when it is run again."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.delivery.contents import LIST_FILE, entries, parse_contents
from appliance.delivery.keys import load_private, write_signed
from tests.boot.site import Site
from tests.delivery.releases import Release

pytestmark = [pytest.mark.image, pytest.mark.boot]

SQUATTER = """
use IO::Socket::INET;
my $door = IO::Socket::INET->new(LocalPort => 8000, Listen => 1) or die;
system("systemd-notify", "--ready");
sleep 1000;
"""
PLACES = ("/opt/wlk", "/etc/wlk", "/etc/systemd", "/var/lib/wlk")


@pytest.fixture
def altered(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Makes bundles that differ from the release, and are signed like it."""
    folder = tmp_path_factory.mktemp("altered")

    def make(version: str, facts: Mapping[str, str] | None = None, **files: tuple[str, str]) -> Path:
        bundle = folder / version
        shutil.copytree(release.bundle, bundle, copy_function=os.link)
        for name, (old, new) in files.items():
            path = next(bundle.rglob(name.replace("_", ".", 1)))
            text = path.read_text(encoding="utf-8")
            assert text.count(old) == 1
            path.unlink()  # it is a link to the release's
            path.write_text(text.replace(old, new), encoding="utf-8")
        contents = parse_contents((bundle / LIST_FILE).read_text(encoding="utf-8"))
        for name in (LIST_FILE, f"{LIST_FILE}.sig"):
            (bundle / name).unlink()
        changed = replace(contents, version=version, files=entries(bundle), **(facts or {}))
        write_signed(bundle / LIST_FILE, changed.text(), load_private(release.folder / "key"))
        return bundle

    yield make
    shutil.rmtree(folder)


def files_of(site: Site) -> str:
    """All there is in the places that an installation fills, with sizes and times."""
    return site.said("find", *PLACES, "-printf", "%p %s %T@ %l\n")


def test_what_is_to_be_mended_is_listed_and_nothing_changed(
    bare: Site, release: Release, altered: Callable[..., Path]
) -> None:
    box = bare.box
    before = files_of(bare)
    key = ("--key", bare.on_stick(release.key))
    box.copy(release.bundle / "install.sh", "/var/tmp")
    done = box.run("setpriv", "--reuid=1", "bash", "/var/tmp/install.sh", *key, check=False)
    assert done.returncode == 1 and "needs root" in done.stderr
    box.run("tee", "/var/tmp/squatter.pl", input_text=SQUATTER)
    box.run(
        "systemd-run",
        "--unit=squatter",
        "--service-type=notify",
        "--property=NotifyAccess=all",
        "perl",
        "/var/tmp/squatter.pl",
    )
    box.run("mkdir", "--parents", "/opt/wlk")
    box.run("mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", "/opt/wlk")
    done = bare.install(altered("0.1.1", {"made": "2099-01-01T00:00:00Z", "target": "x86-cuda"}), *key)
    assert done.returncode == 1
    for seen in (
        "port 8000 is in use",
        "/opt/wlk has 104 MB free",
        "before this release was made",
        "no NVIDIA driver answers",
        "the engine has no NVIDIA runtime",
    ):
        assert seen in done.stderr
    assert done.stderr.count("hint:") == 5
    box.run("umount", "/opt/wlk")
    box.run("rmdir", "/opt/wlk")
    box.run("systemctl", "stop", "squatter")
    box.run("systemctl", "stop", "docker.socket", "docker.service")
    done = bare.install(release.bundle, *key)
    assert (
        done.returncode == 1
        and "no container engine answers" in done.stderr
        and "systemctl start docker" in done.stderr
    )
    box.run("systemctl", "start", "docker.socket", "docker.service")
    done = bare.install(release.bundle, *key, "--dry-run")
    assert done.returncode == 0 and done.stdout.count("\n- ") == 6
    assert files_of(bare) == before and box.images() == []


def test_run_again_it_changes_nothing(site: Site, release: Release) -> None:
    site.box.run("bash", "-c", "echo '# ours' >>/etc/wlk/wlk.env; mkdir -p /etc/systemd/system/wlk.service.d")
    site.box.run("tee", "/etc/systemd/system/wlk.service.d/site.conf", input_text="[Service]\nNice=-1\n")
    site.box.run("systemctl", "daemon-reload")
    before = files_of(site).splitlines(), site.said("docker", "inspect", "--format", "{{.Id}}", "wlk-service")
    done = site.install(release.bundle)  # the key is known now
    assert done.returncode == 0 and "nothing has changed, and it serves" in done.stdout
    after = files_of(site).splitlines(), site.said("docker", "inspect", "--format", "{{.Id}}", "wlk-service")
    assert (set(after[0]) ^ set(before[0]), after[1]) == (set(), before[1])
    assert site.said("tail", "-n", "1", "/etc/wlk/wlk.env") == "# ours"


def test_a_release_that_does_not_come_to_serve_gives_way_to_the_one_before(
    site: Site, altered: Callable[..., Path]
) -> None:
    """It passes its trial, but not as a service."""
    bundle = altered("0.1.2", wlk_service=("service.sh ready", "service.sh nothing"))
    done = site.install(bundle)
    assert done.returncode == 1
    assert "the new release does not serve" in done.stderr and "the update was taken back" in done.stderr
    assert (site.version(), site.state(), site.hears()) == ("0.1.0", "active", True)
    assert site.said("ls", "/opt/wlk/.unproved") == ""
    assert "service.sh ready" in site.said("cat", "/etc/systemd/system/wlk.service")
    assert len(site.said("ls", "/opt/wlk/releases").split()) == 1


def test_one_that_was_ended_before_it_served_is_finished_by_the_next(site: Site, release: Release) -> None:
    before = site.said("docker", "inspect", "--format", "{{.Id}}", "wlk-service")
    site.box.run("touch", "/opt/wlk/.unproved")  # as a switch leaves it, until the new release serves
    site.box.run("systemctl", "disable", "wlk")
    done = site.update(release.bundle)
    assert done.returncode == 0 and "nothing has changed" not in done.stdout
    assert site.said("systemctl", "is-enabled", "wlk") == "disabled" and "serves, now:" in done.stdout
    site.box.run("systemctl", "enable", "wlk")
    assert site.said("docker", "inspect", "--format", "{{.Id}}", "wlk-service") != before


def test_an_instance_that_fails_is_told_and_holds_nothing_up(site: Site, release: Release) -> None:
    site.box.run("tee", "/etc/wlk/second.env", input_text="WLK_PORT=8001\n")
    site.box.run("systemctl", "start", "wlk@second")
    site.box.run("tee", "/etc/wlk/second.env", input_text="WLK_PORT=8001\nWLK_MODEL=huge\n")
    site.box.run("touch", "/opt/wlk/.unproved")
    done = site.update(release.bundle)
    assert done.returncode == 0 and "wlk@second.service does not serve" in done.stderr
    assert site.hears()
    site.box.run("systemctl", "stop", "wlk@second")
    site.box.run("rm", "/etc/wlk/second.env")


def test_umask_and_wrong_keys(site: Site, release: Release) -> None:
    """A root shell with a narrow umask leaves nothing that the server's user can't read."""
    bundle = site.on_stick(release.bundle)
    done = site.box.run("/opt/wlk/current/install.sh", "--key", "/etc/hostname", bundle, check=False)
    assert done.returncode == 1 and "no public key" in done.stderr
    site.box.run("mv", "/opt/wlk", "/opt/before")
    script = f"umask 077; bash {bundle}/install.sh --key {site.on_stick(release.key)}"
    done = site.box.run("bash", "-c", script, check=False, timeout_s=300)
    assert done.returncode == 0, done.stderr
    site.box.run("rm", "-rf", "/opt/before")
    site.box.run("systemctl", "start", "wlk-cert")
    assert site.said("stat", "--format", "%a", "/opt/wlk", "/etc/wlk/wlk.env").split() == ["755", "600"]


def test_two_at_once_do_not_mix(site: Site, release: Release) -> None:
    bundle = site.on_stick(release.bundle)
    both = f"bash {bundle}/install.sh & bash {bundle}/install.sh; first=$?; wait $!; echo $first $?"
    done = site.box.run("bash", "-c", both, check=False, timeout_s=600)
    assert sorted(done.stdout.splitlines()[-1].split()) == ["0", "1"]
    assert "another installation is going on" in done.stderr
    assert site.hears()


def test_there_is_nothing_to_return_to_after_the_first(site: Site) -> None:
    done = site.box.run("/opt/wlk/current/install.sh", "--rollback", check=False)
    assert done.returncode == 1 and "no release before" in done.stderr
    assert site.state() == "active"


def test_uninstall_with_purge_leaves_nothing(site: Site) -> None:
    before = files_of(site)
    assert "- remove /opt/wlk" in site.said("/opt/wlk/current/uninstall.sh", "--dry-run", "--purge")
    assert files_of(site) == before
    # The state lies on another disk.
    site.box.run("systemctl", "stop", "wlk")
    site.box.run("bash", "-c", "mv /var/lib/wlk /var/elsewhere && ln -s /var/elsewhere /var/lib/wlk")
    site.box.run("/opt/wlk/current/uninstall.sh", "--purge")
    assert site.said("ls", "/opt/wlk", "/etc/wlk", "/var/lib/wlk", "/var/elsewhere") == "/var/elsewhere:"
    assert site.said("bash", "-c", "ls /etc/systemd/system | grep wlk") == ""
