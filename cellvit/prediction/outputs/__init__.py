"""The files of a prediction: nuclei for QuPath and as a table, counts, pictures, pages, and the record of the run."""
