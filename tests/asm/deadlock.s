; Two units that wait for each other.
.program "deadlock"
.machine vitcod
.layer "a"
    sync unit=load wait=vector signal=vector  ; error: deadlock: 0 waits for 1 of vector; 1 waits for 0 of load
    sync unit=vector wait=load signal=load
    halt
