#!/usr/bin/env bash
# Set MISFM up on a fresh Debian or Ubuntu machine, then use it or test it.
#
#   bash Testing/run.sh demo [options of misfm demo]   segment a sample with the bundled model
#   bash Testing/run.sh test [options of pytest]       check the code and run the tests
#   bash Testing/run.sh slicer [--slicer PATH] [options of pytest]
#                                                      the tests of the Slicer module, in real Slicer
#
# Everything goes into .venv in the repository and stays there for the next time. Where Python or
# its venv module is missing, apt-get installs it (with sudo when you are not root).
#
# MISFM_SLICER       the Slicer to test in: its launcher, or a script that takes the same arguments.
#                    When neither this nor --slicer names one, the kit of ../shared/slicer is
#                    installed into .slicer; without a kit the real application is not tried.
# MISFM_TORCH_INDEX  package index to take torch from. When it is not set, a machine without an
#                    NVIDIA driver takes the CPU build, because the usual one brings gigabytes of
#                    CUDA libraries. Set it to nothing to use only what pip is configured for.

set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$repository/.venv"
constraints="$repository/constraints.txt"
# Python compiles what is imported; pip would compile all there is, which takes two fifths of its time.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_COMPILE=1

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 1
}

apt_install() {
  command -v apt-get >/dev/null || fail "please install $* with your package manager."
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "please install $* as root: apt-get install $*"
    as_root=(sudo)
  fi
  say "Installing $* with apt-get"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "$@" </dev/null
}

find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
}

make_venv() {
  local python
  if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    return
  fi
  python="$(find_python)"
  if [ -z "$python" ]; then
    apt_install python3 python3-venv
    python="$(find_python)"
    [ -n "$python" ] || fail "Python 3.10 or newer is needed, this is $(python3 --version)."
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  say "Making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
  # uv takes a tenth of pip's time, but does not read which index pip is told to use, if any.
  if ! "$venv/bin/pip" config list | grep -E "[.](index-url|no-index)=" >/dev/null; then
    "$venv/bin/pip" install --quiet -c "$constraints" uv || say "Without uv this takes longer"
  fi
}

# Into the environment of a Python. What uv cannot do pip tries again.
install() {
  local python="$1"
  shift
  if [ -x "$venv/bin/uv" ] &&
    "$venv/bin/uv" pip install --quiet --python "$python" -c "$constraints" "$@"; then
    return
  fi
  "$venv/bin/pip" --python "$python" install --quiet -c "$constraints" "$@"
}

install_torch() {
  local index=() default_index=https://download.pytorch.org/whl/cpu
  command -v nvidia-smi >/dev/null && default_index=
  local chosen="${MISFM_TORCH_INDEX-$default_index}"
  [ -z "$chosen" ] || index=(--extra-index-url "$chosen")
  # An index that cannot be reached costs a warning; pip then takes what it finds elsewhere.
  "$venv/bin/pip" install --quiet --retries 1 --no-deps -c "$constraints" "${index[@]}" torch
}

# What an installation was made from: another Python, place or list of packages needs a new one.
fingerprint() {
  {
    echo "$1 $repository"
    "$venv/bin/python" --version
    cat "$repository/pyproject.toml" "$constraints"
  } | sha256sum
}

set_up() {
  local extra="$1" done_file="$venv/misfm-$1"
  make_venv
  if [ "$(cat "$done_file" 2>/dev/null)" = "$(fingerprint "$extra")" ]; then
    return
  fi
  say "Installing MISFM and what it needs into $venv (some minutes the first time)"
  install_torch
  install "$venv/bin/python" -e "${repository}[$extra]"
  fingerprint "$extra" >"$done_file"
}

demo() {
  set_up report
  # The usual folder may hold the results of the last time.
  [ $# -gt 0 ] || set -- --overwrite
  say "misfm demo $*"
  "$venv/bin/misfm" demo "$@"
}

# Libraries that the stand-in for Slicer draws with; a server often lacks them.
install_graphics() {
  local missing=() pair present
  present="$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)"
  for pair in libEGL.so.1:libegl1 libGL.so.1:libgl1 libGLX_mesa.so.0:libglx-mesa0 \
    libxkbcommon.so.0:libxkbcommon0 libfontconfig.so.1:libfontconfig1 libdbus-1.so.3:libdbus-1-3 \
    libglib-2.0.so.0:libglib2.0-0 libgssapi_krb5.so.2:libgssapi-krb5-2; do
    [[ "$present" == *"${pair%%:*}"* ]] || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}" libegl-mesa0 libgl1-mesa-dri fonts-dejavu-core
}

run_tests() {
  local slicers=""
  cd "$repository"
  make_venv
  if has_stand_in; then
    install_graphics
    # Beside what takes one core: pip, and the checks of the code.
    { find_slicer >/dev/null; install_stand_in; } &
    slicers=$!
  fi
  set_up test
  check_code &
  local checks=$!
  # A worker of pytest-xdist may not survive a signal to itself. This takes one core, as the checks do.
  say "pytest: the library, tests with signals"
  OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -m signals \
    Testing/Library/test_{loop,prepare,reader_process,serve}.py
  wait "$checks"
  say "pytest: the library"
  # One thread for each worker: more only fight over the cores.
  OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest --numprocesses auto --maxprocesses 4 \
    --dist worksteal --durations 5 -m "not signals" "$@"
  [ -z "$slicers" ] || wait "$slicers"
  test_slicer_module
  test_in_slicer
}

check_code() {
  say "ruff"
  "$venv/bin/ruff" check .
  "$venv/bin/ruff" format --check .
  say "mypy"
  "$venv/bin/mypy"
  say "codespell"
  "$venv/bin/codespell"
}

has_stand_in() { [ "$(uname -sm)" = "Linux x86_64" ]; }

# The stand-in for Slicer has a Python of its own, without torch, as Slicer has.
install_stand_in() {
  local slicer="$repository/.venv-slicer" packages=(slicer-core PySide6-Essentials numpy pytest pytest-xdist)
  if [ "$(cat "$slicer/misfm" 2>/dev/null)" != "$(fingerprint slicer)" ]; then
    say "Installing the stand-in for Slicer into $slicer"
    "$venv/bin/python" -m venv --without-pip --clear "$slicer"
    install "$slicer/bin/python" "${packages[@]}"
    fingerprint slicer >"$slicer/misfm"
  fi
}

test_slicer_module() {
  if ! has_stand_in; then
    say "The stand-in for Slicer needs Linux on x86_64: the tests of the Slicer module are left out"
    return
  fi
  say "pytest: the Slicer module, in the stand-in for Slicer"
  export MISFM_PYTHON="$venv/bin/python" OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen
  "$repository/.venv-slicer/bin/python" -m pytest Testing/Slicer \
    --numprocesses "$(waiting_processes 1)" --dist worksteal --durations 5
}

# How many share tests that wait for windows and other processes now and then: some more than there
# are cores, of which nproc would report no more than OMP_NUM_THREADS, and four at most.
waiting_processes() {
  local count
  count=$(($(env -u OMP_NUM_THREADS nproc) + $1))
  echo "$((count < 4 ? count : 4))"
}

# The real application: its own Slicer, or the kit. Prints nothing when there is neither.
find_slicer() {
  local kit="${MISFM_SHARED:-$repository/../shared}/slicer" installed="$repository/.slicer"
  [ -z "${MISFM_SLICER-}" ] || { echo "$MISFM_SLICER"; return; }
  [ -f "$kit/install.sh" ] || return 0
  if bash "$kit/install.sh" "$installed" >&2; then
    echo "$installed/run-slicer.sh"
  else
    echo "run.sh: the kit in $kit could not be installed here" >&2
  fi
}

test_in_slicer() {
  [ "${1-}" != --slicer ] || { export MISFM_SLICER="$2"; shift 2; }
  MISFM_SLICER="$(find_slicer)"
  if [ -z "$MISFM_SLICER" ]; then
    say "The real Slicer was not tried: name one with --slicer or MISFM_SLICER"
    return
  fi
  command -v "$MISFM_SLICER" >/dev/null || fail "$MISFM_SLICER is no program."
  # MISFM_PYTHON is what the module's worker runs on; pytest is pure Python, so Slicer's may differ.
  [ -n "${MISFM_PYTHON-}" ] || { set_up test; MISFM_PYTHON="$venv/bin/python"; }
  local packages="$repository/.slicer/pytest" paths=(Testing/Slicer) word
  if ! cmp -s "$constraints" "$packages/constraints.txt"; then
    "$MISFM_PYTHON" -m pip install --quiet --no-deps --upgrade -c "$constraints" \
      --target "$packages" pytest pluggy iniconfig pygments packaging
    cp "$constraints" "$packages/constraints.txt"
  fi
  cd "$repository"
  for word in "$@"; do [ ! -e "${word%%::*}" ] || paths=(); done
  say "pytest: the Slicer module, in $MISFM_SLICER"
  export MISFM_SLICER MISFM_PYTHON OMP_NUM_THREADS=1
  export MISFM_PYTEST_PACKAGES="$packages" SLICER_BACKGROUND_THREAD_PRIORITY=0
  export SLICER_TEST_TIMEOUT="${SLICER_TEST_TIMEOUT:-1800}"
  if [ $# -gt 0 ] || [ "${MISFM_SLICER##*/}" != run-slicer.sh ]; then
    pytest_in_slicer "$@" "${paths[@]}"
    return
  fi
  # The kit gives every Slicer a screen and a home of its own, so that some can share the tests. Of
  # some that are chosen one of them might have none, which is an error to pytest.
  local parts part code=0 others=() log="$repository/.slicer/part"
  parts="$(waiting_processes 2)"
  rm -f "$log"-*.log
  for part in $(seq 2 "$parts"); do
    pytest_in_slicer --part "$part/$parts" "${paths[@]}" >"$log-$part.log" &
    others+=($!)
  done
  pytest_in_slicer --part "1/$parts" "${paths[@]}" || code=$?
  for part in "${others[@]}"; do wait "$part" || code=$?; done
  cat "$log"-*.log
  return "$code"
}

pytest_in_slicer() {
  MISFM_PYTEST_ARGUMENTS="$("$MISFM_PYTHON" -c \
    'import json, sys; print(json.dumps(sys.argv[1:]))' -p no:cacheprovider --durations 5 "$@")" \
    "$MISFM_SLICER" --no-splash --additional-module-paths "$repository/MISFM" \
    --python-script "$repository/Testing/Host/real_slicer/run_pytest.py" </dev/null 2>&1 | cat
  # (cat, because Slicer writes from several places of a file that it is given)
}

case "${1-}" in
  demo) shift && demo "$@" ;;
  test) shift && run_tests "$@" ;;
  slicer) shift && test_in_slicer "$@" ;;
  *)
    sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
