DROP TABLE canaries;
DROP TABLE processes;
