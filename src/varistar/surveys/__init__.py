"""Where light curves come from: survey definitions, the simulated sky and folders of files."""
