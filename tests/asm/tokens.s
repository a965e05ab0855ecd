; As many tokens are waited for as are sent.
.program "tokens"
.machine vitcod
.layer "a"
    sync unit=load signal=vector
    sync unit=load signal=vector  ; error: load sends 2 tokens to vector, which waits for 1
    sync unit=vector wait=load
    sync unit=store wait=load  ; error: load sends 0 tokens to store, which waits for 1; error: never starts: no token comes from load
    halt wait=load  ; error: an instruction of all units has no tokens
