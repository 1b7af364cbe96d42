import pytest

from vibehq_nb.ops.log_traces import trace_of

PYTHON = """2026-11-22 10:00:05 ERROR failed
Traceback (most recent call last):
  File "/srv/releases/17/app.py", line {line}, in handler
    load(order)
  File "/srv/releases/17/orders.py", line {line}, in load
    raise ValueError(1)
  File "/usr/lib/python3.11/json/decoder.py", line 337, in decode
    x
ValueError: order {line} is bad"""

JAVA = """java.lang.RuntimeException: outer {line}
\tat com.acme.Web.handle(Web.java:{line})
\tat java.base/java.lang.Thread.run(Thread.java:829)
Caused by: com.acme.NoStockError: item {line}
\tat java.base/java.util.Objects.requireNonNull(Objects.java:233)
\tat com.acme.Stock.take(Stock.java:{line})
\t... 12 more"""

NODE = """TypeError: Cannot read properties of undefined ({line})
    at Object.next (node:internal/x:12:3)
    at /app/node_modules/lib/x.js:{line}:3
    at handler (/app/src/web.js:{line}:11)
    at async run (/app/src/main.js:1:1)"""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (PYTHON, "ValueError|orders.py:load"),
        (JAVA, "com.acme.NoStockError|com.acme.Stock.take"),
        (NODE, "TypeError|web.js:handler"),
    ],
    ids=["python", "java", "node"],
)
def test_a_failure_is_its_exception_and_our_own_frame(text: str, key: str) -> None:
    first, second = (trace_of(text.format(line=line)) for line in (12, 3456))

    assert first == second
    assert first is not None
    assert first.key == key


def test_of_chained_python_traces_the_last_is_reported() -> None:
    text = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n'
        "KeyError: 1\n\nDuring handling of the above exception, another exception "
        'occurred:\n\nTraceback (most recent call last):\n  File "b.py", line 2, in g\n'
        "app.errors.NotFound: 2"
    )

    trace = trace_of(text)

    assert trace is not None
    assert trace.key == "app.errors.NotFound|b.py:g"


def test_generated_names_do_not_split_a_failure() -> None:
    text = "x.YException: z\n\tat a.B$$Lambda$14/0x0000{n}.run(Unknown Source)"

    assert trace_of(text.format(n=1)) == trace_of(text.format(n=2))


@pytest.mark.parametrize(
    "text", ["", "at home\n  at work", "Traceback (most recent call last):\n  File"]
)
def test_what_only_resembles_a_trace_is_none(text: str) -> None:
    assert trace_of(text) is None
