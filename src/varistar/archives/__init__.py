"""Where light curves are fetched from: Sky Patrol, MAST, Zenodo; a folder of files at the end of each."""
