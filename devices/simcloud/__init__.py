"""A pretend ESP RainMaker cloud with virtual LIV hubs. Standard library only; no Django.

It shares no code with `devices.rainmaker`, the client it is used to test: a mistake both made would
cancel out. Sources of its behaviour: the ESP RainMaker API definition 3.8.0, the esp-rainmaker
firmware, and the public clients (esp-rainmaker-cli, -android, -ios, -app-sdk-ts, pythermacell,
joyfulhouse/thermacell_liv). What no source settles is marked "Unverified".

    clock       virtual time and wire time            faults     trouble on the line
    names       who the hubs are                      counters   what was asked how often
    scenarios   the trouble a hub can play            world      all of it together, no I/O
    firmware    an install as the hub lives it        store      the world on disk
    hub, jobs   one hub, and what it is offered       app        one request in, one answer out
    liv         what a hub publishes                  routes_*   the cloud's endpoints
    accounts,   people, their sessions                control    the loopback endpoint
    tokens                                            server     HTTP, and nothing else; cli
"""
