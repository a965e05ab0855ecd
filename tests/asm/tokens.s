; As many tokens are waited for as are sent, each after it is sent.
.program "tokens"
.machine vitcod
.layer "a"
    sync unit=load signal=vector
    sync unit=load signal=vector  ; error: load sends 2 tokens to vector, which waits for 1
    sync unit=vector wait=load
    sync unit=store wait=load  ; error: load sends 0 tokens to store, which waits for 1
    sync unit=encoder wait=decoder  ; error: waits for a token of instruction 5, which comes later: a signal precedes its wait
    sync unit=decoder signal=encoder
    halt wait=load  ; error: an instruction of all units has no tokens
