#!/usr/bin/env python3
"""Keeps the tree tidy: the rules below, over the working tree. Plain Python, no packages.

usage: tests/tidy/check.py               check; 1 if something is found
       tests/tidy/check.py --self-test   check the rules: each must find its own kind of offence in a made-up tree

The layers come from CMakeLists.txt: the order and the DEPS of its sluice_library() lines.
"""
import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: Folders with code of ours; generated and third-party files live elsewhere.
CODE = ("src", "tests", "bench", "cmake", "scripts", ".ci", "deploy")
SOURCES = (".cpp", ".hpp")
TEXTS = SOURCES + (".py", ".sh", ".cmake", ".yml", ".yaml", ".txt")

#: Sans-IO: bytes and times go in, bytes and events come out.
PURE = ("src/base", "src/codec", "src/proto", "src/media", "src/cluster/core")
IMPURE = [
    (r"#include <boost/(asio|beast)", "no Asio"),
    (r"#include <(thread|future|condition_variable|semaphore|barrier|latch|stop_token)>", "no threads"),
    (r"#include <(sys/socket|sys/epoll|sys/eventfd|sys/timerfd|netinet/\w+|netdb|poll|fcntl|unistd)\.?h?", "no descriptors"),
    (r"#include <(fstream|filesystem)>", "no files"),
    (r"_clock::now\(|\b(clock_gettime|gettimeofday)\(|(?<![\w.>])(::|std::)?time\((nullptr|NULL|0|&)", "no clock"),
    (r"#include <random>|\b(std::|::)?s?rand\(|\b(getrandom|arc4random|RAND_bytes)\b", "no randomness"),
    (r"\b(secure_)?getenv\(|\benviron\b", "no environment"),
]
#: Only main() looks at the environment; tests have a switch of their own.
ENVIRONMENT = ("src/app/main.cpp",)

LINES_MAX = 450
TEST_LINES_MAX = 700  # tables of cases are read in parts
#: Longer files, each with the reason that makes it worth it.
LONG = {}

UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")


def files(root):
    """(path from the root, text) of every file of ours."""
    for top in CODE:
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders[:] = sorted(f for f in folders if f not in ("corpus", "__pycache__", "node_modules", "golden"))
            for name in sorted(names):
                if not name.endswith(TEXTS) and name != "run":
                    continue
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8", errors="replace") as f:
                    yield os.path.relpath(path, root), f.read()


def layers(root):
    """Folder under src (`proto/rtmp`) → (its place in the list, the folders it may include)."""
    with open(os.path.join(root, "CMakeLists.txt"), encoding="utf-8") as f:
        cmake = f.read()
    libraries = {}
    for name, folder, rest in re.findall(r"^sluice_library\(\s*(\w+)\s+src/([^\s)]+)\s*([^)]*)\)", cmake, re.MULTILINE):
        deps = re.sub(r"\bLINK\b.*", "", rest, flags=re.DOTALL).replace("DEPS", "").split()
        for dep in deps:
            if dep not in libraries:
                raise SystemExit(f"CMakeLists.txt: {name} names {dep}, which is not above it")
        below = {folder}.union(*(libraries[dep][1] for dep in deps))
        libraries[name] = (folder, below)
    return {folder: below for folder, below in libraries.values()}


def check_layers(path, text, allowed):
    """A file of src includes its own folder and those that its library is linked with."""
    if not path.startswith("src/"):
        return
    own = os.path.dirname(path)[len("src/"):]
    if own not in allowed:
        yield 0, f"src/{own} is in no sluice_library() of CMakeLists.txt"
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if not match:
            continue
        folder = os.path.dirname(match.group(1))
        if folder not in allowed:
            yield number, f'"{match.group(1)}": name headers by "folder/file.hpp" below src'
        elif folder not in allowed[own]:
            yield number, f'{own} may not use {folder}: "{match.group(1)}"'


def check_pure(path, text, _):
    """Sans-IO folders have no clock, socket, thread, randomness or environment; the rest of src has no environment."""
    pure = path.startswith(tuple(p + "/" for p in PURE))
    rules = IMPURE if pure else IMPURE[-1:] if path.startswith("src/") and path not in ENVIRONMENT else []
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("//")[0]
        for pattern, what in rules:
            if path.endswith(SOURCES) and re.search(pattern, code):
                yield number, f"{what} here: {code.strip()}"


def check_length(path, text, _):
    lines = text.count("\n")
    most = TEST_LINES_MAX if path.startswith("tests/") else LINES_MAX
    if path.endswith(SOURCES + (".py", ".sh")) and lines > most and path not in LONG:
        yield 0, f"{lines} lines: split it, or give the reason in LONG of tests/tidy/check.py"


def check_form(path, text, _):
    """Blanks, tabs, `#pragma once`, a last line feed, nothing left for later."""
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
        if "\t" in line and path.endswith(SOURCES + (".py", ".sh", ".cmake")):
            yield number, "a tab"
        if UNFINISHED.search(line):
            yield number, "unfinished: " + line.strip()
    if text and not text.endswith("\n"):
        yield 0, "no line feed at the end"
    if path.endswith(".hpp") and "#pragma once" not in text:
        yield 0, "no #pragma once"


RULES = (check_layers, check_pure, check_length, check_form)


def check_readmes(root):
    """Every folder under src that holds sources has a README.md."""
    for folder, folders, names in os.walk(os.path.join(root, "src")):
        folders.sort()
        if any(n.endswith(SOURCES) for n in names) and "README.md" not in names:
            yield os.path.relpath(folder, root), 0, "no README.md (purpose, thread, limits)"


def first_argument(text, at):
    """(the argument of a call that begins at `at`, where it ends)."""
    depth, quoted, i = 0, False, at
    while i < len(text):
        c = text[i]
        if quoted:
            i += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "([{":
            depth += 1
        elif c in ")]}" or c == ",":
            if depth == 0:
                break
            depth -= c != ","
        i += 1
    return text[at:i], i


#: A call that writes a log line: of info() and warn() the first argument names the event, else that behind the level.
LOG_CALL = re.compile(r"\blog\w*(?:\(\))?(?:\.|->)(?:info|warn)\(|(?:\blog\w*|\baction::log)[({]\s*(?=[^,;]*log_level::)")


def names_told(text):
    """The log events and metrics that a file of src names."""
    names = set()
    for call in LOG_CALL.finditer(text):
        argument, end = first_argument(text, call.end())
        if "log_level::" in argument:
            argument, _ = first_argument(text, end + 1)
        names.update(re.findall(r'"([a-z][a-z0-9_]+)"', argument))
    for call in re.finditer(r"\b(?:counter|gauge|histogram)\(\s*\"([a-z0-9_]+)\"", text):
        names.add(call.group(1))
    return names


def check_told(root):
    """Every log event and every metric of src stands in the document for operators, as `name`."""
    document = os.path.join("docs", "operating.md")
    with open(os.path.join(root, document), encoding="utf-8") as f:
        known = set(re.findall(r"`([a-z][a-z0-9_]+)`", f.read()))
    for path, text in files(root):
        if path.startswith("src/") and path.endswith(SOURCES):
            for name in sorted(names_told(text) - known):
                yield path, 0, f"`{name}` is not in {document}"


def check(root):
    """All findings: (path, line or 0, text)."""
    allowed = layers(root)
    found = []
    for path, text in files(root):
        for rule in RULES:
            found += [(path, number, what) for number, what in rule(path, text, allowed)]
    return found + list(check_readmes(root)) + list(check_told(root))


# -- the check of the checks ---------------------------------------------------------------------------------------------

CLEAN = {
    "CMakeLists.txt": "sluice_library(base src/base LINK fmt::fmt)\nsluice_library(codec src/codec DEPS base)\n"
                      "sluice_library(runtime src/runtime DEPS base\n  LINK x)\n",
    "src/base/README.md": "x\n", "src/codec/README.md": "x\n", "src/runtime/README.md": "x\n",
    "src/base/a.hpp": "#pragma once\n",
    "src/codec/b.cpp": '#include "base/a.hpp"\n#include "codec/b.hpp"\n// the time( of day, getenv()\nint runtime(int x);\n',
    "src/runtime/c.cpp": '#include <thread>\n#include "base/a.hpp"\nint x = log_.info(on ? "begun" : "ended", {{"key", value}});\n'
                         'int y = metrics.gauge("sluice_things", "Some.", {});\n',
    "docs/operating.md": "| `begun`, `ended` | `sluice_things` |\n",
}
OFFENCES = [  # (file, text, part of the finding)
    ("src/base/a.cpp", '#include "codec/b.hpp"\n', "base may not use codec"),
    ("src/codec/d.cpp", '#include "runtime/c.hpp"\n', "codec may not use runtime"),
    ("src/runtime/d.cpp", '#include "c.hpp"\n', "name headers by"),
    ("src/other/d.cpp", "\n", "in no sluice_library()"),
    ("src/codec/d.cpp", "#include <boost/asio.hpp>\n", "no Asio"),
    ("src/codec/d.cpp", "#include <thread>\n", "no threads"),
    ("src/codec/d.cpp", "#include <sys/socket.h>\n", "no descriptors"),
    ("src/codec/d.cpp", "auto t = std::chrono::steady_clock::now();\n", "no clock"),
    ("src/codec/d.cpp", "auto t = time(nullptr);\n", "no clock"),
    ("src/codec/d.cpp", "#include <random>\n", "no randomness"),
    ("src/codec/d.cpp", 'auto p = std::getenv("HOME");\n', "no environment"),
    ("src/runtime/d.cpp", 'auto p = std::getenv("HOME");\n', "no environment"),
    ("src/codec/d.cpp", "int a;\n" * (LINES_MAX + 1), "split it"),
    ("src/codec/d.hpp", "int a;\n", "#pragma once"),
    ("src/codec/d.cpp", "int a; \n", "blanks at the end"),
    ("src/codec/d.cpp", "\tint a;\n", "a tab"),
    ("src/codec/d.cpp", "int a;", "no line feed"),
    ("src/codec/d.cpp", "// TO" + "DO\n", "unfinished"),
    ("src/codec/deep/d.cpp", "int a;\n", "no README.md"),
    ("src/runtime/d.cpp", 'log.warn("trouble", {});\n', "`trouble` is not in"),
    ("src/runtime/d.cpp", 'log.info(on ? "begun" : "trouble",\n {{"a", b}});\n', "`trouble` is not in"),
    ("src/runtime/d.cpp", 'out_.push_back(action::log{base::log_level::warn,\n  "trouble", {{"a", b}}});\n', "`trouble` is not in"),
    ("src/runtime/d.cpp", 'log(on ? log_level::warn : log_level::info, on ? "trouble" : "begun", o);\n', "`trouble` is not in"),
    ("src/runtime/d.cpp", 'auto& c = m.counter(\n    "sluice_more_total", "More.");\n', "`sluice_more_total` is not in"),
]


def self_test():
    def found_in(tree):
        with tempfile.TemporaryDirectory() as root:
            for path, text in tree.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            return check(root)
    assert found_in(CLEAN) == [], found_in(CLEAN)
    for path, text, part in OFFENCES:
        found = found_in({**CLEAN, path: text})
        assert any(part in what for _, _, what in found), f"{path}: {text!r} is not found to be: {part}"


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    found = check(ROOT)
    for path, number, what in found:
        print(f"{path}{f':{number}' if number else ''}: {what}")
    print(f"tidy: {len(found)} findings" if found else "tidy: nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
