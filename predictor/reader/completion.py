"""Completion of `predictor` and its verbs by bash, zsh and fish: one script, which asks for nothing while one types."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BASH = """_predictor() {
  local word=${COMP_WORDS[COMP_CWORD]} words= files=
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=%(verbs)s
  elif [ "${COMP_WORDS[1]}" = log ] && [ "$COMP_CWORD" -eq 2 ]; then
    words=%(log)s
  else
    files=1
    case ${COMP_WORDS[1]}:${COMP_WORDS[2]} in
%(cases)s
    esac
  fi
  case $word in -*) files= ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$word") ${files:+$(compgen -f -- "$word")})
}
complete -o filenames -F _predictor predictor prediction-log-server
"""


def script(shell: str, verbs: Sequence[str], log: Mapping[str, Sequence[str]]) -> str:
    """Return what a shell is to read: `verbs` of `predictor`, and the options of each verb of `predictor log`."""
    if shell == "fish":
        return _fish(verbs, log)
    cases = "\n".join(f"      log:{verb}) words={shlex.quote(' '.join(options))} ;;" for verb, options in log.items())
    bash = _BASH % {"verbs": shlex.quote(" ".join(verbs)), "log": shlex.quote(" ".join(log)), "cases": cases}
    return bash if shell == "bash" else f"autoload -Uz compinit bashcompinit\ncompinit\nbashcompinit\n{bash}"


def _fish(verbs: Sequence[str], log: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c predictor -n __fish_use_subcommand -f -a {shlex.quote(' '.join(verbs))}"]
    known = " ".join(log)
    first = f"__fish_seen_subcommand_from log; and not __fish_seen_subcommand_from {known}"
    lines.append(f"complete -c predictor -n {shlex.quote(first)} -f -a {shlex.quote(known)}")
    for verb, options in log.items():
        seen = shlex.quote(f"__fish_seen_subcommand_from log; and __fish_seen_subcommand_from {verb}")
        lines += [f"complete -c predictor -n {seen} -l {each[2:]}" for each in options if each.startswith("--")]
        lines += [f"complete -c predictor -n {seen} -s {each[1:]}" for each in options if not each.startswith("--")]
    return "\n".join(lines) + "\n"
