; Two units that wait for each other.
.program "deadlock"
.machine vitcod
.layer "a"
    sync unit=load wait=vector signal=vector  ; error: waits for a token of instruction 1, which comes later: a signal precedes its wait
    sync unit=vector wait=load signal=load
    halt
