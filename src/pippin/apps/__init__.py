"""Apps: command line, studio, gallery and generated interfaces. Models enter; output for humans leaves."""
