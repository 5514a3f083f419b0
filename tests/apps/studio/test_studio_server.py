"""The studio without a browser: who is answered, what the command says, what the tabs read."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

import pippin
from pippin.apps import cli
from pippin.apps.studio.open_models import Models, Opened, configuration_of
from pippin.apps.studio.server import Guard
from pippin.apps.studio.structure import matching, rows_of, shapes_of
from pippin.apps.studio.trace import beginning, lanes
from pippin.errors import ConfigurationError, FormatError
from pippin.specialization.compute_plan import ComputePlan, PlannedOperation
from pippin.trace.events import Event
from support.browser import served

httpx = pytest.importorskip("httpx", reason="NiceGUI is not installed (the extra 'studio')")


@pytest.fixture(scope="module")
def address():
    with served("studio", "--no-open", PIPPIN_CACHE="off") as found:
        yield found


@pytest.mark.process
def test_it_answers_this_machine(address):
    answer = httpx.get(address)
    assert answer.status_code == 200 and "Open a model" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert httpx.get(f"{address}docs").status_code == 404


STRANGERS = {
    "another name": {"host": "rebound.example"},
    "another site": {"origin": "http://elsewhere.example"},
    "a file": {"origin": "null"},
    "another port": {"origin": "http://127.0.0.1:1"},
}


@pytest.mark.process
@pytest.mark.parametrize("name", STRANGERS)
def test_it_answers_nobody_else(name, address):
    for path in ("", "model?path=/etc/passwd", "_nicegui/client/x/upload/1"):
        assert httpx.get(f"{address}{path}", headers=STRANGERS[name]).status_code == 403


FETCHED = {
    "typed, or opened by the command": ({"sec-fetch-site": "none"}, 200),
    "its own page": ({"sec-fetch-site": "same-origin"}, 200),
    "no browser": ({}, 200),
    "a link on another site": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
    "a frame of another site": ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, 403),
    "a page on another port": ({"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}, 403),
    "a word of the future": ({"sec-fetch-site": "else"}, 403),
}


@pytest.mark.process
@pytest.mark.parametrize("name", FETCHED)
def test_who_led_here(name, address):
    headers, status = FETCHED[name]
    for path in ("", "model?path=/nothing", "netron/x/"):
        found = httpx.get(f"{address}{path}", headers=headers)
        assert found.status_code == (404 if path == "netron/x/" and status == 200 else status)
    assert status == 200 or "type its address" in found.text


async def _hello(scope, receive, send):
    """An application that answers everything."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


GUARDED = "http://127.0.0.1:8765"


def asked(*requests):
    """The answers of a guarded application to (method, path, headers), asked one after the other by one client."""

    async def run():
        transport = httpx.ASGITransport(Guard(_hello, 8765))
        async with httpx.AsyncClient(transport=transport, base_url=GUARDED) as client:
            return [await client.request(method, path, **how) for method, path, how in requests]

    return asyncio.run(run())


def test_what_changes_something_needs_the_cookie():
    upload = "/_nicegui/client/x/upload/1"
    first, page, second = asked(
        ("POST", upload, {"content": b"x"}), ("GET", "/", {}), ("POST", upload, {"content": b"x"})
    )
    assert [answer.status_code for answer in (first, page, second)] == [403, 200, 200]
    (cookie,) = page.headers.get_list("set-cookie")
    assert "SameSite=Strict" in cookie and "HttpOnly" in cookie and cookie.startswith("pippin-studio-8765=")
    assert "set-cookie" not in second.headers
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        wrong = {"content": b"x", "headers": {"cookie": "pippin-studio-8765=guessed"}}
        assert asked((method, upload, wrong))[0].status_code == 403
    assert asked(("GET", "/_nicegui_ws/socket.io/?transport=polling", {}))[0].status_code == 403


def test_the_socket_needs_the_cookie():
    async def connected(headers):
        said = []
        scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "headers": headers}

        async def send(message):
            said.append(message["type"])

        await guard(scope, None, send)
        return said

    guard = Guard(_hello, 8765)
    host, cookie = (b"host", b"127.0.0.1:8765"), f"other=1; pippin-studio-8765={guard._token}".encode()
    assert asyncio.run(connected([host])) == ["websocket.close"]
    assert asyncio.run(connected([host, (b"cookie", cookie)])) == ["websocket.accept"]
    for wrong in (
        (b"origin", b"http://elsewhere.example"),
        (b"origin", b"http://["),
        (b"sec-fetch-site", b"cross-site"),
    ):
        assert asyncio.run(connected([host, (b"cookie", cookie), wrong])) == ["websocket.close"]


def test_uploads_are_bounded():
    large = {"headers": {"content-length": str(3 << 30)}, "content": b"x"}
    answers = asked(("GET", "/", {}), ("POST", "/upload", large), ("POST", "/upload", {"content": _endless()}))
    assert [answer.status_code for answer in answers] == [200, 413, 411]
    assert "at most 2.1 GB" in answers[1].text


async def _endless():
    yield b"x"


@pytest.mark.process
def test_it_listens_on_the_loopback_address_alone(address):
    port = int(address.rpartition(":")[2].strip("/"))
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)} - {"127.0.0.1"}
    for other in (host for host in others if not host.startswith("127.")):
        with socket.socket() as tried:
            tried.settimeout(5)
            assert tried.connect_ex((other, port)) != 0


@pytest.fixture
def command(capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pippin", "studio", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return stop.value.code, printed.out + printed.err

    return run


TYPED = {
    "a device": "/dev/zero",
    "the whole disk": "/",
    "a zero byte": "a\0b",
    "a name too long": "/" + "n" * 5000,
    "an unknown user": "~nobody-of-this-name/m.mlmodel",
    "nothing": "",
}


@pytest.mark.parametrize("name", TYPED)
def test_a_typed_path_that_is_no_model(name):
    from pippin.apps.studio.start_page import typed

    async def opened():
        await Models().open(typed(TYPED[name]), configuration_of(None, "ALL"))

    with pytest.raises(FormatError):
        asyncio.run(opened())


def test_a_port_that_is_taken(command):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, said = command("--no-open", "--port", other.getsockname()[1])
    assert status == 2 and "cannot listen on port" in said and "Traceback" not in said


def test_a_model_that_is_not_there(command, tmp_path):
    status, said = command("--no-open", tmp_path / "nothing.mlpackage")
    assert status == 2 and "no such file" in said


def test_without_its_packages(command, monkeypatch):
    for name in [
        name for name in sys.modules if name.startswith("pippin.apps.studio.") or name.partition(".")[0] == "nicegui"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nicegui", None)
    status, said = command("--no-open")
    assert status == 2 and "pip install 'pippin[studio]'" in said.replace("\n", " ")


def test_models_are_shared_and_opened_anew_when_they_change(models, tmp_path):
    import shutil

    path = tmp_path / "moved.mlpackage"
    shutil.copytree(models("arrays"), path)

    async def run():
        opened = Models()
        first = await opened.open(path, pippin.Configuration())
        assert await opened.open(path, pippin.Configuration()) is first
        one, other = await asyncio.gather(first.model(), first.model())
        assert one is other is first.loaded
        shutil.rmtree(path)
        shutil.copytree(models("counter"), path, copy_function=shutil.copy)
        second = await opened.open(path, pippin.Configuration())
        assert second is not first and second.function.states
        assert opened.recent() == [path]

    asyncio.run(run())


def test_only_so_many_stay_loaded(models):
    async def run():
        opened = Models()
        configurations = [pippin.Configuration(threads=n) for n in range(1, 7)]
        found = []
        for configuration in configurations:
            found.append(await opened.open(models("arrays"), configuration))
            await found[-1].model()
        await opened.open(models("arrays"), configurations[-1])
        assert [repr(each.loaded).endswith(", not loaded>") for each in found] == [True, True, *[False] * 4]
        assert found[0].loaded.predict({"x": [[1, -1, 2], [0, 0, 0]]})["y"].tolist() == [[1, 0, 2], [0, 0, 0]]

    asyncio.run(run())


def test_a_load_that_failed_is_tried_again(models, monkeypatch):
    async def run():
        opened = Opened(models("arrays"), pippin.Configuration())
        monkeypatch.setattr("pippin.apps.studio.open_models.load", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await opened.model()
        assert opened.loaded is None
        monkeypatch.undo()
        assert (await opened.model()).predict({"x": [[1, -1, 2], [0, 0, 0]]})["y"].shape == (2, 3)

    asyncio.run(run())


def test_configurations():
    assert configuration_of("", "CPU_ONLY") == pippin.Configuration(compute_units=pippin.ComputeUnits.CPU_ONLY)
    assert configuration_of("f", "nonsense").function_name == "f"


def test_an_unknown_function(models):
    with pytest.raises(ConfigurationError, match="no function 'other'"):
        Opened(models("arrays"), pippin.Configuration(function_name="other"))


OPERATIONS = (
    PlannedOperation("w", "const", "", "", 0, 0.0),
    PlannedOperation("a_1", "conv", "cpu", "openvino", 0, 0.75),
    PlannedOperation("b_2", "relu", "cpu", "onnxruntime", 1, 0.25),
)
PLAN = ComputePlan("main", (), (), OPERATIONS, "float32", measured={"a_1": 2.5e-6})


def test_rows_of_operations():
    rows = rows_of(PLAN, {"a_1": "fp32 1 × 4"})
    assert [(row["*name"], row["#cost"], row["#measured"], row["*shape"]) for row in rows] == [
        ("a_1", 75.0, 2.5, "fp32 1 × 4"),
        ("b_2", 25.0, None, ""),
    ]
    searches = {"": 2, "conv": 1, "CONV a_": 1, "conv b_": 0, "× 4": 1}
    assert {text: len(matching(rows, text, [])) for text in searches} == searches
    assert [row["*name"] for row in matching(rows, "", ["onnxruntime"])] == ["b_2"]
    assert len(matching(rows, "", ["cpu"])) == 2


def test_shapes_of_operations(models):
    shapes = shapes_of(Opened(models("colors"), pippin.Configuration()))
    assert "fp32 1 × 3" in shapes.values()


def test_lanes_of_a_trace():
    inside = (Event("compute", "compute cpu", 2.1, 2.9, "openvino"),)
    predictions = [
        Event("prediction", "activity", 2.0, 3.0, children=inside),
        Event("prediction", "activity", 2.5, 3.5),
    ]
    events = [Event("load", "activity", 0.0, 2.0, "cached"), predictions[0], *inside, predictions[1]]
    drawn = lanes(events)
    assert drawn.count("<rect") == 4 and "load cached: 2.00 s" in drawn and ">compute cpu</text>" in drawn
    assert "NaN" not in drawn and lanes([]) == ""
    ys = [part.split('y="')[1].split('"')[0] for part in drawn.split('<rect class="activity"')[1:]]
    assert len(set(ys)) == 2, "two predictions in flight are stacked"
    assert 0.5 < beginning(events) < 2 / 3.5
    assert lanes(events, beginning(events)).count('<rect class="load"') == 1
