"""Apps: models go in; what people look at comes out: command line, studio, gallery and generated interfaces."""
