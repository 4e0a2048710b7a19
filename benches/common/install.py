"""What a benchmark needs: Debian packages, and Rust packages of its own."""
import os, pathlib, subprocess


def packages(wanted):
    """Installs the Debian packages whose file is missing; `wanted`: file → package."""
    missing = sorted({package for path, package in wanted.items() if not pathlib.Path(path).exists()})
    if not missing:
        return
    print("installing:", *missing)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=environment, check=True)
    # Their services stay off: only what the benchmark starts may run.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            policy.unlink()


def cargo(folder):
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=folder, check=True)
