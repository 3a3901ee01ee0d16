"""One module per dataset layout.

Each has one function, ``find_files(root, modalities)``, that yields ``(case_id, image_paths, label_path)`` for
every labelled case, with one image path per modality in the task's order.
"""
