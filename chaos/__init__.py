"""`make chaos`: breaks what may break, in a seeded order under load, and compares the callers' ledger with the sink.

- `plan` says which faults there are and in which order they come; `campaign` lets them happen
- `machine` holds what they happen to: servers, Collector, sink, the way between them, a small disk
- `gate`, `inside` and `disk` are the faults that no signal can bring about
- `judge` compares; it reads plain JSON and shares no code with the server
"""
