#!/usr/bin/env bash
# Who installs over a line that breaks does not see the rest; but the rest is done. Sourced by install.sh.

# shellcheck disable=SC2154
# From now on what is printed, by this script and all that it starts, goes through a program that goes on reading when nobody
# is there to read it; without it the first line after that would fail, and end the script in the middle of a switch.
outlive_terminal() {
    trap '' HUP
    if [ -t 1 ] && [ -t 2 ]; then
        exec > >(hand_on) 2>&1
        relays=($!)
    else
        exec > >(hand_on)
        relays=($!)
        exec 2> >(hand_on >&2)
        relays+=($!)
    fi
    trap 'finish_output; rm -rf "${private:-}"' EXIT
}

hand_on() { cat 2>/dev/null || cat >/dev/null; }

# All of it is seen before the script ends.
finish_output() {
    exec >&- 2>&-
    wait "${relays[@]}" || true
}
