//! Files under `--state`: a job's memory across restarts. Only a hint, never needed for a right answer.
