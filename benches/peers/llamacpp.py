"""llama.cpp's programs and vocabularies for the scripts that compare with it, made once under the target folder.

PEERS_PYTHON=<python> has numpy and gguf, else an environment is made from PyPI; PEERS_LLAMA=<folder> has llama-server,
llama-quantize and llama-batched-bench, else they are built from the source package llama-cpp-python of PyPI (cmake,
ninja, g++), for the same instructions as ours. PEERS_VOCABULARY=<folder> is vendor/llama.cpp/models of that source."""
import os
import pathlib
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
SHARED = pathlib.Path(os.environ.get("NEARMISS_SHARED", HERE.parent / "shared"))
WORK = TARGET / "peers-generate"
WORK.mkdir(parents=True, exist_ok=True)


def sh(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, **more)


def python():
    if os.environ.get("PEERS_PYTHON"):
        return os.environ["PEERS_PYTHON"]
    place = WORK / "python"
    if not (place / "complete").exists():
        sh(sys.executable, "-m", "venv", place)
        sh(place / "bin/python", "-m", "pip", "install", "--quiet", "numpy", "gguf", "cmake", "ninja")
        (place / "complete").touch()
    return str(place / "bin/python")


def source():
    """llama.cpp's source, as the newest llama-cpp-python brings it."""
    place = WORK / "source"
    found = list(place.glob("*/vendor/llama.cpp"))
    if not found:
        sh(python(), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", place, "llama-cpp-python")
        with tarfile.open(next(place.glob("*.tar.gz"))) as archive:
            archive.extractall(place, filter="data")
        found = list(place.glob("*/vendor/llama.cpp"))
    return found[0]


def llama(name):
    given = os.environ.get("PEERS_LLAMA")
    if given:
        return pathlib.Path(given) / name
    build = WORK / "llama"
    if not (build / "bin" / name).exists():
        cmake = str(pathlib.Path(python()).parent / "cmake")
        alike = [f"-DGGML_{name}=ON" for name in ("AVX", "AVX2", "FMA", "F16C", "BMI2")]
        sh(cmake, "-S", source(), "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=OFF",
           "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_CURL=OFF", *alike)
        sh(cmake, "--build", build, "--target", "llama-server", "llama-quantize", "llama-batched-bench")
    return build / "bin" / name


def vocabulary():
    given = os.environ.get("PEERS_VOCABULARY")
    return pathlib.Path(given) if given else source() / "models"


def random_model(path, architecture, vocabulary_name, template, *shape):
    """A model of random weights with a real vocabulary and template, by tools/random_gguf.py of ../shared."""
    sh(python(), SHARED / "tools/random_gguf.py", architecture, path, "--vocab", vocabulary() / f"ggml-vocab-{vocabulary_name}.gguf",
       *(["--tmpl", vocabulary() / "templates" / template] if template else []), *shape, stdout=subprocess.DEVNULL)
