"""`python -m panet`."""

from panet.cli.main import main

main()
