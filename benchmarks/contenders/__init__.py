"""The hand-written loop and the peers: scripts that know nothing of batchscore, run as `python FILE DATA MODEL OUT`.

Each reads all files of DATA, scores them with MODEL in two processes, and writes id, score and flag as zstd parquet.
"""
