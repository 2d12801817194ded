# Every target installs what it needs into .venv. You need only Python 3.11 to 3.13 with pip.
PYTHON ?= python3
BIN := .venv/bin
# Versions from constraints.txt, hashes from requirements.lock; torch has no hash because some machines build their own.
PINS := --no-require-hashes -c constraints.txt -c requirements.lock --build-constraint requirements.lock
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS)
export HILUM_DATA ?= ../shared/data

.PHONY: demo serve test test-services faults check lock release images golden bench docs clean

demo: .venv/light  ## a real DICOM chest film through the shipped models; results in demo/
	@film=$$($(BIN)/python -c "import data_store, pathlib; print(pathlib.Path(data_store.__file__).parent / 'data' / 'RG1_UNCR.dcm')") && \
	mkdir -p demo && cp "$$film" demo/ && \
	$(BIN)/hilum predict demo/RG1_UNCR.dcm --out demo --as csv,json,png,html && \
	$(BIN)/python -c "import csv; [print(f'{k:28} {v}') for k, v in next(csv.DictReader(open('demo/predictions.csv'))).items()]" && \
	echo && echo "Open demo/RG1_UNCR.dcm.html in a browser, or look at demo/RG1_UNCR.dcm.overlay.png"

serve: .venv/serve  ## the HTTP service and its viewer on http://localhost:8000; data in hilum-data/
	$(BIN)/hilum serve --data hilum-data

# One thread for each test process: there is one process per core, and more threads wait for each other.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile

test: .venv/full  ## all tests except tests/services, one test file per core
	$(TEST)

test-services: .venv/services  ## against a real PACS, database and browser; installs them with apt-get (Debian, Ubuntu)
	$(BIN)/python -m pytest tests/services

MINUTES ?= 60
faults: .venv/full  ## tests/faults, then the fuzzer for an hour (MINUTES=60); failing inputs are kept in build/faults
	$(BIN)/python -m pytest tests/faults
	$(BIN)/python tools/fuzz.py --minutes $(MINUTES) --keep build/faults

check: .venv/release  ## format, lint, types, tests, licences, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/licences.py
	$(BIN)/python tools/audit.py
	$(TEST)

lock: .venv/release  ## update requirements.lock after a change of pyproject.toml or constraints.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 -c constraints.txt \
	--all-extras --group dev --group images --group release --group services \
	--no-emit-package torch --no-emit-package torchvision --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

release: .venv/release  ## build dist/ twice and compare, test the wheel in a clean environment, write the SBOM
	$(BIN)/python tools/release.py

images: .venv/images  ## lint the container files; nothing is built
	$(BIN)/python -m pytest tests/test_docker.py

golden: .venv/full  ## update the reference outputs of hilum selftest after a change of a model
	$(BIN)/python tools/golden.py

bench: .venv/services  ## speed, memory and size, compared with other software; not a test
	$(BIN)/python benchmarks/install.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/outlines.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/serve.py 60
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/peers.py

docs: .venv/full  ## generate the command line manual, the result tables and the model pages
	$(BIN)/python docs/manual.py > docs/cli.md
	$(BIN)/python docs/tables.py
	$(BIN)/hilum models hilum-gate --markdown > docs/models/hilum-gate.md
	$(BIN)/hilum models hilum-lungs --markdown --figures docs/results/lungs-jsrt-test.csv --figures docs/results/lungs-shenzhen-test.csv > docs/models/hilum-lungs.md
	$(BIN)/hilum models hilum-six --markdown --figures docs/results/hilum-six-test.csv > docs/models/hilum-six.md

.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=26.2"
	@touch $@

.venv/light: .venv/pip pyproject.toml constraints.txt requirements.lock
	$(PIP) -e ".[demo]"
	@touch $@

.venv/serve: .venv/light
	$(PIP) -e ".[demo,serve]"
	@touch $@

# torch first: as a dependency of another package, pip would replace a CPU build by several GB of CUDA packages.
.venv/full: .venv/light
	$(PIP) "torch==2.13.0"
	$(PIP) -e ".[train,tune,demo,deid,dicom,serve,pacs,hub,openvino]" --group dev
	@touch $@

# Program:Debian packages. Programs already on PATH are not installed, so users without root can provide their own.
SERVICES := Orthanc:orthanc,orthanc-dicomweb storescu:dcmtk dciodvfy:dicom3tools psql:postgresql chromium:chromium wrk:wrk
.venv/services: .venv/full
	@missing=$$(for pair in $(SERVICES); do PATH=$$PATH:/usr/sbin command -v $${pair%%:*} >/dev/null || echo $${pair#*:} | tr , ' '; done); \
	[ -z "$$missing" ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null
	$(PIP) -e ".[ray]" --group services
	@touch $@

.venv/release: .venv/full
	$(PIP) --group release
	@touch $@

.venv/images: .venv/full
	$(PIP) --group images
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache demo dist build
