"""The report's page as text: whole, escaped, the same for the same records. How it behaves: test_page_in_browser."""

from __future__ import annotations

import base64
import gzip
import html
import html.parser
import json
import re
from collections import Counter

import pytest
from page_records import STATES, write_page
from sample_records import add_ap, add_top1, latency_record, make_record, training_record
from study_records import imagenet_pair

from awbench.recipes.classification import load_recipe
from awbench.records import Quantity, Records, RecordStore
from awbench.reference.load import load_references
from awbench.report.formats import render
from awbench.report.page import render_page
from awbench.report.page.known import trained
from awbench.report.tables import TABLES
from awbench.variants import ModelOptions
from awbench.verdicts.protocol import default_options

HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="hacked=1"> & "quotes" \'single\''


class Parsed(html.parser.HTMLParser):
    """The page's elements, the text of each script, and what it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                self.addresses.append(value)
            elif name.startswith("on"):
                self.handlers.append(value)
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "script" and self.scripts and not self.scripts[-1]:
            self.scripts[-1] = data


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path / "results")


@pytest.fixture
def hostile_store(store) -> RecordStore:
    """Records of every kind, with HTML wherever text can stand."""
    environment = {"device": HOSTILE, "cpu": HOSTILE, "run": "1", HOSTILE: HOSTILE}
    store.add(make_record(environment=environment, notes=[HOSTILE], inputs={"source_sha256": HOSTILE}))
    for run in imagenet_pair(1.0, 4, environment={"hostile": HOSTILE}):
        store.add(run)
    add_ap(store, "faster_rcnn_resnet101_fpn", 42.0, 42.1)
    store.add(latency_record("resnet50", (1.0, 1.0, 1.0), device_name=HOSTILE))
    store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6), device_name=HOSTILE))
    return store


@pytest.fixture
def hostile_references(tmp_path, root):
    folder = tmp_path / "references"
    folder.mkdir()
    for path in (root / "reference_results").glob("*.yaml"):
        text = path.read_text()
        if path.stem == "aw_convolution":
            text = re.sub(r"title: .*", lambda _: f"title: {json.dumps(HOSTILE)}", text, count=1)
            text = re.sub(r"text: ImageNet Top-1 .*", lambda _: f"text: {json.dumps(HOSTILE)}", text, count=1)
        (folder / path.name).write_text(text)
    return load_references(folder)


def text_of(page: str, start: str, end: str) -> str:
    """What a reader sees between two pieces of markup, on one line."""
    between = page.split(start)[1].split(end)[0]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", between)).split())


def test_the_first_screen_of_a_machine_without_records(store):
    page = render_page(store.read(), load_references())
    first = text_of(page, "<header>", '<section id="figures"')
    assert first.startswith("Does attention on the weights of a convolution (AW) help? Whether AW-ResNet-20 is better")
    assert "the first look is at 3 runs of each, and none is there." in first and " 0 of " not in first
    assert (
        "Here: " not in first
        and "Fashion-MNIST is not known yet" in first
        and "This is Fashion-MNIST, not ImageNet or COCO." in first
    )
    assert "The paper's 4 claims, on ImageNet-1k and COCO: 4 not measured." in first
    assert "Accuracy, parameters, operations, latency: not measured here yet of any of them." in first
    likely = r"\d+ runs of each network: a true claim is answered by then with >?\d+% probability \(deviation 0\.\d+\)"
    assert len(re.findall(rf"{likely}: awbench study run (?:imagenet|coco) --data DIR", first)) == 4
    assert "from 0 records" in page and "There are no records yet" in page


@pytest.fixture
def own_work(store):
    """Of a reader who counted, timed, trained and imported, and ran no study."""
    for name in ("resnet50", "aw_resnet50"):
        params = 1000 if name == "resnet50" else 1050
        values = {n: q.model_copy(update={"value": params}) for n, q in make_record().values.items()}
        store.add(make_record(variant=name, values=values, options=default_options(name, ModelOptions())))
    for name, ratio in (("resnet20", (1, 1, 1)), ("se_resnet20", (1.1, 1.09, 1.11)), ("aw_resnet20", (2.7, 2.1, 4.1))):
        store.add(latency_record(name, ratio))
    add_top1(store, "aw_resnet50", 76.0, 76.2, recipe=load_recipe("cbam", ["epochs=1"]).identity())
    add_top1(store, "resnet50", 75.0, recipe=load_recipe("cbam", ["epochs=1"]).identity())
    add_top1(store, "resnet50", 70.0, recipe=load_recipe("cbam", ["epochs=2"]).identity())
    settings = {"dataset": "imagenet", "recipe": "a3", "recipe_sha256": "0" * 64, "metric": "top1", "source": "my lab"}
    for seed in range(2):
        settings |= {"seed": seed, "is_variant": True}
        value = {"top1": Quantity(value=78.0, unit="percent")}
        store.add(make_record(kind="imported", variant="resnet50", options={}, settings=dict(settings), values=value))
    return store


def test_the_first_screen_says_what_there_is_where_no_study_has_a_run(own_work):
    page = render_page(own_work.read(), load_references(), figures=[])
    first = text_of(page, "<header>", '<section id="claims"')
    assert "What was measured here does not answer it: none of it is a run of a study of the question." in first
    counted = "Here: 2 networks counted, 3 timed, 4 trainings, 2 imported runs; none is part of a study."
    assert counted in first and "'awbench study run fashion-mnist' asks: Does AW raise" in first
    assert " 0 of " not in first and "not measured here yet" not in first
    assert f"from {len(own_work.read())} records" in page


def test_tiles_show_what_no_study_is_about(own_work):
    page = render_page(own_work.read(), load_references(), figures=[])
    shown = {title: text_of(page, f"<h3>{title}</h3>", "</div>") for title in ("Accuracy (%)", "Parameters", "Latency")}
    accuracy = "ResNet-50, ImageNet-1k, cbam plain 75.00 (1) AW 76.10, sd 0.14 (2) SE not measured"
    assert accuracy in shown["Accuracy (%)"], "of the recipe that trained more of them"
    assert "ResNet-50, v1.5, 224 x 224 plain 1,000 AW +5.00 % SE not measured" in shown["Parameters"]
    assert "ResNet-20, 32 x 32 plain 10.00 ms AW too noisy SE 1.10 times" in shown["Latency"]
    for text in shown.values():
        assert "ResNet-20, Fashion-MNIST; ResNet-101, ImageNet-1k: not measured." in text


@pytest.mark.parametrize("place", [0, 2])
def test_of_one_recipe_on_two_versions_the_tile_shows_that_with_more_runs(place):
    runs = [training_record("resnet50", value, seed) for seed, value in enumerate((75.0, 75.2))]
    other = training_record("resnet50", 70.0, 0, finished="2026-02-01T00:00:00.000000Z")
    runs.insert(place, other.model_copy(update={"environment": {**other.environment, "torch": "2.15.0"}}))
    column = trained(Records(runs))
    assert column and column[1][0].accuracy == "75.10, sd 0.14 (2)"


def test_the_question_is_that_of_the_study_with_most_runs(tmp_path):
    page = write_page(tmp_path, "too-early", figures=[]).read_text()
    answer = text_of(page, '<p class="answer">', "</p>")
    assert answer.startswith("Whether AW-ResNet-101 is better than ResNet-101 on ImageNet-1k is not known yet")
    assert answer.endswith("and 2 of AW-ResNet-101 and 2 of ResNet-101 are there.")
    first = text_of(page, "<header>", "</header>")
    assert "Here: 6 trainings; 6 are part of a study." in first and "not ImageNet or COCO" not in first


def test_empty_rows_are_marked_and_counted_for_print(hostile_store):
    hostile_store.add(make_record(variant="aw_resnet50", options=default_options("aw_resnet50", ModelOptions())))
    page = render_page(hostile_store.read(), load_references(), figures=[])
    for kind, some in (("claims", 3), ("published-latency", 57), ("latency", 0), ("complexity", 100)):
        section = page.split(f'<details id="table-{kind}"')[1].split("</details>")[0]
        rows = section.count('<tr class="empty"')
        assert rows >= some and (f", of which {rows}, not measured" in section) == bool(some)
        assert ('class="nothing"' in section) == (rows == section.count("<tr") - 1)
        for row in section.split("<tr")[2:]:  # measured, but published by nobody, is "unknown"
            assert row.startswith(' class="empty"') == bool(re.search(">not measured|>unknown<", row))
    assert ">unknown<" in section


def test_the_answer_is_that_of_the_records_and_says_what_was_claimed(tmp_path):
    for state, says in (
        (
            "as-claimed",
            "On ImageNet-1k, AW-ResNet-101 is better than ResNet-101: +1.00 (+0.57 to +1.43) percentage points",
        ),
        ("loss", "AW-ResNet-101 is worse than ResNet-101"),
        ("left-aside-beside-evidence", "Whether it is the claimed gain (+1.00) is undecided."),
    ):
        page = write_page(tmp_path, state, figures=[]).read_text()
        assert says in text_of(page, '<p class="answer">', "</p>")
    first = text_of(write_page(tmp_path, "as-claimed", figures=[]).read_text(), "<header>", "</header>")
    assert "That is the claimed gain (+1.00)." in first and "3 as claimed, 1 not measured" in first


def test_tiles_have_what_is_known_of_each_network_and_say_what_is_not(store):
    for name, params in (("resnet101", 1000), ("aw_resnet101", 1050), ("se_resnet101", 1100)):
        values = {n: q.model_copy(update={"value": params}) for n, q in make_record().values.items()}
        store.add(make_record(variant=name, values=values, options=default_options(name, ModelOptions())))
    store.add(latency_record("resnet101", (1.0, 1.0, 1.0), over="resnet101"))
    store.add(latency_record("aw_resnet101", (1.25, 1.2, 1.3), over="resnet101"))
    store.add(latency_record("se_resnet101", (1.1, 0.7, 1.5), over="resnet101"))
    for run in imagenet_pair(1.0, 4):
        store.add(run)
    page = render_page(store.read(), load_references(), figures=[])
    shown = {title: text_of(page, f"<h3>{title}</h3>", "</div>") for title in ("Accuracy (%)", "Parameters", "Latency")}
    assert "AW 78.38, sd 0.10 (4) SE not measured" in shown["Accuracy (%)"]
    assert re.search(r"AW over plain \+1\.00 \(\+0\.\d\d to \+1\.\d\d\) points\.", shown["Accuracy (%)"])
    assert "ResNet-20, Fashion-MNIST: not measured." in shown["Accuracy (%)"]
    assert "plain 1,000 AW +5.00 % SE +10.00 % CBAM not measured" in shown["Parameters"]
    assert "AW 1.25 times SE too noisy CBAM not measured" in shown["Latency"]


# State of the records -> the headline of the claim about ResNet-101.
HEADLINES = {
    "as-claimed": "gain; as claimed", "less": "gain undecided; less than claimed", "more": "gain; more than claimed",
    "loss": "loss; less than claimed", "undecided": "gain; size undecided", "too-early": "too early",
    "left-aside": "not measured", "left-aside-beside-evidence": "gain; size undecided", "nothing": "not measured",
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_a_card_says_what_its_verdict_rests_on(state, tmp_path):
    page = html.unescape(write_page(tmp_path, state, figures=[]).read_text())
    card = page.split('id="claim-imagenet-r101">')[1].split("</article>")[0]
    assert f">{HEADLINES[state]}</span>" in card
    assert "AW as built here: 5 choices ours, 3 recalled" in card
    decided = state not in ("nothing", "left-aside", "too-early", "undecided", "left-aside-beside-evidence")
    assert ('<p class="settle">settled</p>' in card) == decided
    if not decided:
        assert re.search(
            r"(\d runs of each network|10 runs of each network, its last look): a true claim (is|would be) ans", card
        )
    facts = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", card))
    if state in ("nothing", "left-aside"):
        assert facts == {} and "awbench study run imagenet --data DIR" in card
    else:
        expected = {"look", "with", "without", "trained", "AW setting"}
        assert set(facts) >= expected | ({"publication"} if state != "too-early" else set())
        assert (
            facts["trained"] == "cbam, precision=bfloat16, channels_last=true, 100 epochs"
            and ", sd 0." in facts["with"]
        )
    assert ("left aside, runs and why" in card) == state.startswith("left-aside")
    if state.startswith("left-aside"):
        assert "<li>2: trained on 1,000 of 1,281,167 images</li>" in card


def test_a_column_that_says_the_same_in_every_row_is_said_once(hostile_store):
    page = render_page(hostile_store.read(), load_references(), figures=[])
    claims = page.split('<details id="table-claims"')[1].split("</details>")[0]
    headings = re.findall(r"<th .*?<button[^>]*>(.*?)</button>", claims)
    assert "source" not in headings and headings[:2] == ["claim", "verdict"]
    assert "source aw_convolution ; provenance primary" in text_of(claims, 'id="same-claims">', "</p>")
    assert claims.count("<td") == len(headings) * 4 + 4, "and a button a row"


def test_a_table_is_downloaded_as_the_command_prints_it(hostile_store):
    page = render_page(hostile_store.read(), load_references(), figures=[])
    files = json.loads(Parsed(page).scripts[0])["files"]
    assert set(files) == set(TABLES)
    for format in ("csv", "json"):
        table = TABLES["claims"](hostile_store.read(), load_references())
        assert gzip.decompress(base64.b64decode(files["claims"][format])).decode() == render(table, format)


def test_every_table_is_there_with_every_row(hostile_store):
    references = load_references()
    page = render_page(hostile_store.read(), references)
    for kind, make in TABLES.items():
        section = page.split(f'<details id="table-{kind}"')[1].split("</details>")[0]
        assert section.count("<tr") == len(make(hostile_store.read(), references).rows) + 1


def test_text_from_records_and_references_is_never_markup(hostile_store, hostile_references):
    page = Parsed(render_page(hostile_store.read(), hostile_references))
    assert page.tags["script"] == 2 and page.tags["img"] == 0
    assert page.handlers == []
    data = json.loads(page.scripts[0])
    assert HOSTILE in {one for record in data["records"] for one in record["notes"]}
    assert "<script" not in page.scripts[1]


def test_nothing_is_loaded_and_links_are_anchors_or_https(hostile_store):
    page = Parsed(render_page(hostile_store.read(), load_references()))
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert all(address.startswith(("#", "https://")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_no_id_stands_twice_though_several_figures_are_in_one_page(hostile_store):
    ids = Parsed(render_page(hostile_store.read(), load_references())).ids
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    latency = "figure-latency-batch-1-float32-contiguous-224-pixels-2-threads"
    assert {"figure-claims", latency, "figure-published-imagenet"} <= set(ids)


def test_a_rows_records_are_the_ones_it_was_made_from(hostile_store):
    page = render_page(hostile_store.read(), load_references())
    data = json.loads(Parsed(page).scripts[0])
    claims = page.split('<details id="table-claims"')[1].split("</details>")[0]
    row = claims.split("aw_resnet101")[1].split("</tr>")[0]
    places = [int(place) for place in re.search(r'data-records="([\d ]*)"', row)[1].split()]
    found = Counter(data["records"][place]["title"] for place in places)
    assert found == {"accuracy of aw_resnet101": 4, "accuracy of resnet101": 4}
    values = {data["records"][place]["values"]["top1"] for place in places}
    measured = {round(float(value.removesuffix(" percent")), 2) for value in values}
    assert measured == {77.3, 77.4, 77.5, 78.3, 78.4, 78.5}


def test_the_same_records_give_the_same_bytes(hostile_store):
    first, second = (render_page(hostile_store.read(), load_references()) for _ in range(2))
    assert first == second


def test_the_command_writes_the_page_and_its_figures(awbench, tmp_path):
    code, out, _ = awbench("report", "--json")
    written = json.loads(out)
    assert code == 0 and set(written["claims"].values()) == {"not measured"}
    assert (tmp_path / written["report"]).read_text().startswith("<!DOCTYPE html>")
    code, out, _ = awbench("report")
    assert code == 0 and "imagenet-r101: not measured: needs 'awbench study run imagenet --data DIR'" in out
    for path in written["figures"]:
        assert (tmp_path / path).read_bytes().startswith((b"<?xml", b"\x89PNG"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--output", "a_file/page.html"), "a_file"),
        (("--output", "a_folder"), "--output a_folder is a folder; give a file, e.g. a_folder/report.html"),
        (("--figures", "a_file"), "a_file"),
        (("--results", "a_file"), "results folder a_file is a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(words, message, awbench, tmp_path):
    (tmp_path / "a_file").write_text("")
    (tmp_path / "a_folder").mkdir()
    code, out, err = awbench("report", *words)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1
