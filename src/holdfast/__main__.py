"""`python -m holdfast`, which `accelerate launch -m holdfast` starts on several devices."""

from holdfast.cli.main import run

if __name__ == "__main__":
    run()
