"""Which plugins may be imported: all that are installed, or those that SSL_CORE_PLUGINS names."""
import json

import pytest

WINDOW = """
    from pathlib import Path

    from ssl_core import Component, hookimpl

    Path("imported").touch()


    @hookimpl
    def ssl_encoders():
        yield Component(name="net", target="ssl_spy_parts:Net")
"""


@pytest.fixture
def spy(distribution):
    distribution("ssl-spy", plugin="spy", window=WINDOW, parts="class Net: pass")


COMMANDS = [("list",), ("list", "spy"), ("show", "spy/net"), ("doctor",), ("doctor", "spy"),
            ("--plugin", "spy", "--method", "x"),
            ("--plugin", "toy", "--method", "contrast", "encoder=spy/net", "--dry-run"),
            ("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=", "baselines=false", "--json")]


@pytest.mark.parametrize("allowed", ["toy", " toy , graph,", ""])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_plugin_that_is_not_allowed_is_never_imported(command, allowed, spy, monkeypatch, sslrun, tmp_path):
    monkeypatch.setenv("SSL_CORE_PLUGINS", allowed)
    code, out, err = sslrun(*command)
    assert not (tmp_path / "imported").exists()
    assert "failure of ours" not in err
    if "spy" in " ".join(command) and command[0] != "doctor":
        who = "spy (ssl-spy 1.0)" if allowed or "toy" not in command else "toy (ssl-toy 0.1.0)"
        assert code == 2 and f"plugin {who} is installed but not allowed: SSL_CORE_PLUGINS names" in err


def test_all_are_allowed_where_nothing_is_said(spy, monkeypatch, done, tmp_path):
    monkeypatch.delenv("SSL_CORE_PLUGINS", raising=False)
    assert "spy" in done("list")
    assert (tmp_path / "imported").exists()


def test_the_core_is_always_allowed(monkeypatch, done):
    monkeypatch.setenv("SSL_CORE_PLUGINS", "")
    assert list(json.loads(done("list", "--json"))) == ["core"]


def test_a_run_whose_callbacks_are_not_allowed_goes_without_them(distribution, monkeypatch, done, tmp_path):
    distribution("ssl-hooked", plugin="hooked", window="""
        from pathlib import Path
        from ssl_core import hookimpl

        @hookimpl
        def ssl_callbacks(config):
            Path("called").touch()
            return []
    """)
    words = "--plugin", "toy", "--method", "contrast", "epochs=1", "probe=", "baselines=false", "--json"
    monkeypatch.setenv("SSL_CORE_PLUGINS", "toy")
    done(*words)
    assert not (tmp_path / "called").exists()
    monkeypatch.delenv("SSL_CORE_PLUGINS")
    done(*words)
    assert (tmp_path / "called").exists()


def test_the_doctor_says_who_offers_what_and_who_may_not(spy, monkeypatch, sslrun):
    monkeypatch.setenv("SSL_CORE_PLUGINS", "toy")
    _, out, _ = sslrun("doctor")
    assert "- spy  (ssl-spy 1.0)  installed, not allowed by SSL_CORE_PLUGINS, not imported" in out
    assert "toy  (ssl-toy 0.1.0)" in out
    found = json.loads(sslrun("doctor", "--json")[1])
    assert found["refused"]["spy"] == "ssl-spy 1.0" and "spy" not in found["plugins"]


def test_another_package_cannot_take_the_name_of_the_core(distribution, fails, tmp_path):
    distribution("ssl-thief", plugin="core", window="from pathlib import Path\nPath('imported').touch()")
    assert "2 packages claim the plugin name 'core'" in fails("--plugin", "toy", "--method", "contrast", "--dry-run")
    assert not (tmp_path / "imported").exists()
