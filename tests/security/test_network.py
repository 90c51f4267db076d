"""Nothing goes to the network unless a user asks for it: no telemetry, no look for weights, no look for versions."""
import sys

import pytest

REACHES = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind", "urllib.Request",
           "http.client.connect")
WATCHED = {"on": False}
SEEN = []


def watch(event, arguments):
    """An audit hook sees what any Python code does, whatever library it is in; it cannot be taken off again."""
    if WATCHED["on"] and event in REACHES:
        SEEN.append((event, repr(arguments)[:200]))
        raise PermissionError(f"{event} while nobody asked for the network")


sys.addaudithook(watch)


@pytest.fixture
def offline():
    SEEN.clear()
    WATCHED["on"] = True
    yield SEEN
    WATCHED["on"] = False


RUNS = {"toy": ("contrast",), "graph": ("gcool", "data=digits"),
        "vision": ("barlow-twins", "data=digits", "encoder=vit", "encoder.depth=1"),
        "speech": ("tera", "data=vowels", "data.items=40"), "tabular": ("vime", "data=breast-cancer"),
        "medical": ("medical-simclr", "data=synthetic", "data.volumes=12", "data.side=24", "encoder=unet3d")}


@pytest.mark.parametrize("plugin", RUNS)
def test_a_run_of_every_plugin_stays_at_home(plugin, offline, sslrun):
    pytest.importorskip(f"ssl_{plugin}")
    method, *options = RUNS[plugin]
    code, _, err = sslrun("--plugin", plugin, "--method", method, *options, "--dry-run")
    assert code == 0, err
    assert offline == []


def test_training_and_what_comes_after_stay_at_home(offline, done):
    done("--plugin", "toy", "--method", "contrast", "epochs=1", "probe=knn", "--out", "run", "--json")
    done("evaluate", "run", "--json")
    done("embed", "run", "--out", "z.npz")
    done("--resume", "run", "--json")
    done("list")
    assert offline == []


FETCHED = [("graph", "cora"), ("graph", "wikics"), ("graph", "mutag"), ("vision", "cifar10"), ("vision", "mnist"),
           ("tabular", "jannis")]


@pytest.mark.parametrize(("plugin", "data"), FETCHED)
def test_public_data_are_fetched_only_when_asked(plugin, data, offline, sslrun, tmp_path):
    """Without `data.download=true` a message says how; with it, the network is what is asked for."""
    pytest.importorskip(f"ssl_{plugin}")
    words = "--plugin", plugin, "--method", RUNS[plugin][0], f"data={data}", f"data.root={tmp_path}", "--dry-run"
    code, _, err = sslrun(*words)
    assert code == 2 and "data.download=true" in err and offline == []
    code, _, err = sslrun(*words, "data.download=true")
    assert code == 2 and offline, err


def test_the_hub_is_asked_only_when_asked(offline, sslrun):
    pytest.importorskip("ssl_vision")
    code, _, err = sslrun("--plugin", "vision", "--method", "simclr", "data=huggingface", "data.name=a/b", "--dry-run")
    assert code == 2 and "data.download=true" in err and offline == []


def test_the_watch_works(offline):
    import socket
    with pytest.raises(PermissionError):
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    assert offline
