#!/usr/bin/env python3
"""Builds the Maven projects that the deploy tests need, if Maven is installed."""

import shutil
import sys

from deploy import broker


def main():
    if shutil.which("mvn"):
        for name in ("spring", "spring-security", "activemq"):
            broker.build(name)


if __name__ == "__main__":
    try:
        main()
    except broker.BrokerError as error:
        sys.exit(str(error))
