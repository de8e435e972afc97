"""The whole way of a release: sticks, signatures, a box that boots to serve, updates, and the way back."""

import time

import pytest

from tests.boot.site import Site
from tests.delivery.releases import Release

pytestmark = [pytest.mark.image, pytest.mark.boot]

KEY = "/root/bundle.key.pub"
HOME = "/var/tmp"


def test_from_the_stick_to_the_next_release_and_back(
    bare: Site, release: Release, next_release: Release, deaf_release: Release
) -> None:
    site, box = bare, bare.box
    box.run("tee", KEY, input_text=release.key.read_text(encoding="utf-8"))

    # Parts come stick by stick; one is damaged, is named, and is copied again.
    [parts] = (release.folder / "dist").glob("*.parts")
    box.run("cp", "--recursive", site.on_stick(parts), f"{HOME}/parts")
    damaged = sorted(path.name for path in parts.iterdir() if path.name[-1].isdigit())[-1]
    box.run("bash", "-c", f"printf x | dd of={HOME}/parts/{damaged} bs=1 seek=1000 conv=notrunc status=none")
    join = ("bash", f"{HOME}/parts/join.sh", "--key", KEY, "--to", HOME)
    refused = box.run(*join, check=False)
    assert refused.returncode == 1 and damaged in refused.stderr
    box.run("cp", f"{site.on_stick(parts)}/{damaged}", f"{HOME}/parts/{damaged}")
    box.run(*join)
    bundle = f"{HOME}/{release.bundle.name}"
    box.run("rm", "-rf", f"{HOME}/parts")

    # Without the key, and with a byte changed, nothing is loaded.
    assert "--trust" in site.install(bundle).stderr
    box.run("bash", "-c", f"echo >>{bundle}/run_wlk.sh")
    refused = site.install(bundle, "--key", KEY)
    assert refused.returncode == 1 and "run_wlk.sh" in refused.stderr
    assert box.images() == [] and site.said("ls", "/opt/wlk", "/etc/wlk") == ""
    box.run("cp", f"{site.on_stick(release.bundle)}/run_wlk.sh", f"{bundle}/run_wlk.sh")

    # Installed: it serves, after a reboot too, over TLS with the CA that the device made.
    done = site.install(bundle, "--key", KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "https://box:8000/" in done.stdout
    fingerprint = site.said("/opt/wlk/current/wlk_cert.sh", "--dir", "/var/lib/wlk", "--fingerprint")
    assert fingerprint in done.stdout and len(fingerprint) > 60
    box.run("rm", "-rf", bundle)
    assert box.reboot() == "running"
    assert (site.state(), site.version()) == ("active", "0.1.0")
    assert "default" not in site.said("ip", "route")
    assert site.hears()
    assert site.said("/opt/wlk/current/wlk_cert.sh", "--dir", "/var/lib/wlk", "--fingerprint") == fingerprint

    # A delta is made whole and becomes the next release.
    assert next_release.delta is not None
    apply = ("bash", f"{site.on_stick(next_release.delta)}/apply.sh", "--to")
    box.run(*apply, f"{HOME}/next", timeout_s=300)
    done = site.update(f"{HOME}/next")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site.version(), site.served(), site.hears()) == ("0.2.0", "0.2.0", True)
    box.run("rm", "-rf", f"{HOME}/next")

    # An update whose server hears nothing fails its trial: the one before serves on, and has not been interrupted.
    started = site.said("systemctl", "show", "--property=ActiveEnterTimestamp", "wlk")
    done = site.install(deaf_release.bundle)
    assert done.returncode == 1 and "failed its trial" in done.stderr, done.stdout + done.stderr
    assert (site.version(), site.served(), site.hears()) == ("0.2.0", "0.2.0", True)
    assert site.said("systemctl", "show", "--property=ActiveEnterTimestamp", "wlk") == started
    assert [name for name in box.images() if "0.3.0" in name] == []
    assert len(site.said("ls", "/opt/wlk/releases").split()) == 2

    # Back in seconds, and an older bundle is not taken by mistake.
    began = time.monotonic()
    done = box.run("/opt/wlk/current/install.sh", "--rollback")
    print(f"rolled back in {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 120
    assert (site.version(), site.served(), site.hears()) == ("0.1.0", "0.1.0", True)
    assert "0.1.0 serves again" in done.stdout
    assert box.reboot() == "running"
    assert (site.version(), site.state()) == ("0.1.0", "active")
    box.run("/opt/wlk/current/install.sh", "--rollback")
    assert site.version() == "0.2.0"
    refused = site.install(release.bundle)
    assert refused.returncode == 1 and "--allow-downgrade" in refused.stderr
    assert site.hears()

    # Gone without a trace, but for what it says that it keeps.
    said = site.said("bash", "/opt/wlk/current/uninstall.sh")
    assert "kept: /etc/wlk" in said and "/var/lib/wlk" in said
    assert box.images() == [] and box.engine("ps", "--all", "--quiet") == ""
    assert box.engine("volume", "ls", "--quiet") == ""
    left = site.said("find", "/", "-xdev", "-name", "*wlk*", "-not", "-path", "/proc/*", "-not", "-path", "/media/*")
    assert set(left.split()) == {"/etc/wlk", "/etc/wlk/wlk.env", "/var/lib/wlk"}
    assert box.reboot() == "running"
