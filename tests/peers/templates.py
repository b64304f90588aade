"""Chat templates rendered by jinja2, as transformers does, for our renderer to equal.

usage: templates.py FOLDER [FOLDER ...]   (folders with *.jinja; without one, those of llama.cpp in the source package
llama-cpp-python from PyPI)
Renders every template on three conversations (a system message and thinking off, a user alone, two turns), writes the
results to a file, and runs the unit test that renders the same with our code (NEARMISS_TEMPLATES). A template that our
code refuses is listed with the reason; one that renders otherwise fails. Needs jinja2."""
import datetime, glob, json, os, subprocess, sys, tarfile, tempfile
import jinja2, jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

DAY = datetime.datetime(2024, 7, 26)
TALKS = [
    [("system", "Answer with JSON only."), ("user", "Write two passages about iron & <steel>.")],
    [("user", "It's a test: \"quoted\"")],
    [("user", "first question"), ("assistant", "the first answer"), ("user", "one more")],
]


def downloaded(scratch):
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python",
                    "--dest", scratch, "llama-cpp-python"], check=True)
    archive = glob.glob(os.path.join(scratch, "*.tar.gz"))[0]
    with tarfile.open(archive) as file:
        wanted = [member for member in file.getmembers() if "/models/templates/" in member.name]
        file.extractall(scratch, wanted, filter="data")
    return [os.path.dirname(path) for path in glob.glob(os.path.join(scratch, "*/vendor/llama.cpp/models/templates/*.jinja"))][:1]


def environment():
    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    jinja.filters["tojson"] = lambda value, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    jinja.globals["raise_exception"] = refuse
    jinja.globals["strftime_now"] = DAY.strftime
    return jinja


def render(jinja, source, talk):
    messages = [{"role": role, "content": content} for role, content in talk]
    try:
        text = jinja.from_string(source).render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True,
                                                enable_thinking=False, tools=None, documents=None)
    except Exception:
        return None
    return text if all(content in text for _, content in talk) else None


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folders = sys.argv[1:] or downloaded(scratch)
        jinja, cases = environment(), []
        for path in sorted(path for folder in folders for path in glob.glob(os.path.join(folder, "*.jinja"))):
            source = open(path, encoding="utf-8").read()
            for talk in TALKS:
                expected = render(jinja, source, talk)
                if expected is None and talk[0][0] == "system":
                    # As ours does: a system message without a place goes before the user's.
                    expected = render(jinja, source, [("user", talk[0][1] + "\n\n" + talk[1][1])])
                cases.append({"name": os.path.basename(path), "template": source, "talk": talk, "expected": expected})
        golden = os.path.join(scratch, "templates.json")
        with open(golden, "w") as file:
            json.dump(cases, file)
        print(f"{len(cases)} cases of {len({case['name'] for case in cases})} templates; {sum(case['expected'] is None for case in cases)} jinja2 refuses")
        here = os.path.dirname(os.path.abspath(__file__))
        sys.exit(subprocess.run(["cargo", "test", "--lib", "templates_are_rendered_as_jinja2_does", "--", "--show-output"],
                                cwd=os.path.join(here, "../.."), env={**os.environ, "NEARMISS_TEMPLATES": golden}).returncode)


main()
