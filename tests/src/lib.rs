//! The tests stand in `black_box/`: one binary over the real issuer, the real Worker in `workerd` and real peers.
